"""Ten rows of a log as a draft of its settings understands them, by the code that reads logs."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from nightreel.operations.init.proposal import Draft
from nightreel.operations.init.sample import Sample
from pipelines.ingest import read_delivery
from pipelines.ingest.raw_files import BIG_MATRIX

ROWS = 10
_LOOKED_AT = 200


def understood(draft: Draft, sample: Sample) -> tuple[list[dict[str, Any]], str]:
    """The first rows as plays, and what is wrong with others of the sample; empty if nothing is.

    Raises:
        InputError: settings contradict each other, or no row can be read.
    """
    named = draft.data["columns"]
    rows = sample.rows[:_LOOKED_AT]
    user, item = (sample.names.index(named[role]) for role in ("user", "item"))
    with TemporaryDirectory(prefix="nightreel-init-") as folder:
        path = Path(folder) / "plays.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(sample.names)
            for number, row in enumerate(rows):
                # Ids may be of any kind: a row's number stands for them.
                writer.writerow([number if at in (user, item) else text for at, text in enumerate(row)])
        data = {name: value for name, value in draft.data.items() if name not in ("users", "items")}
        data |= {"plays": {"path": str(path)}, "user_columns": {}, "item_columns": {}}
        try:
            data |= {"max_reject_share": 1.0, "text_ids": "none"}
            settings = Settings.model_validate({"home": Path(folder), "data": {**draft.top, **data}})
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"{said}.", "Give other options; `nightreel init --help` lists them.") from None
        table, _ = read_delivery(path, BIG_MATRIX, settings)
    wrong = table.rejects.filter(~table.rejects["reason"].is_in(["duplicate"]))
    said = f"{wrong.height} of {len(rows)} rows cannot be read: {wrong['reason'][0]}" if wrong.height else ""
    if table.frame.is_empty():
        raise InputError(f"{said}.", "Say which column is what; `nightreel init --help` lists the options.")
    shown = []
    for play in table.frame.sort(columns.USER_ID).head(ROWS).iter_rows(named=True):
        number = play[columns.USER_ID]
        made: dict[str, Any] = {
            "user": rows[number][user],
            "item": rows[number][item],
            "time": play[columns.EVENT_TIMESTAMP]
            .astimezone(settings.data.zone)
            .isoformat(sep=" ", timespec="seconds"),
        }
        if settings.data.has_lengths:
            made |= {
                "played_s": play[columns.PLAY_DURATION] / 1e3,
                "length_s": play[columns.VIDEO_DURATION] / 1e3,
            }
        made["worth"] = play[columns.WATCH_RATIO]
        long = (
            settings.data.long_view_s is not None
            and play[columns.PLAY_DURATION] >= settings.data.long_view_s * 1e3
        )
        made["liked"] = play[columns.WATCH_RATIO] > settings.data.like_threshold or long
        shown.append(made)
    return shown, said
