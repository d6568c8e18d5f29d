"""Ten rows of a log as a draft of its settings understands them, by the code that reads logs."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from pydantic import ValidationError

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from nightreel.operations.init.proposal import Draft
from nightreel.operations.init.sample import Sample
from pipelines.ingest.decimals import ADVICE, COMMA
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.raw_files import BIG_MATRIX
from pipelines.ingest.sources import scratch_folder, source_of
from pipelines.ingest.tables import read_table

ROWS = 10
_LOOKED_AT = 200


def understood(draft: Draft, sample: Sample) -> tuple[list[dict[str, Any]], str]:
    """The first rows as plays, and what is wrong with other rows of the sample; empty if nothing is.

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
            writer.writerows(rows)
        data = {name: value for name, value in draft.data.items() if name not in ("users", "items")}
        data |= {"plays": {"path": str(path)}, "user_columns": {}, "item_columns": {}}
        try:
            one_file = {
                **draft.top,
                **data,
                "max_reject_share": 1.0,
                "format": {**draft.form, "delimiter": ","},
                "targets": draft.targets,
            }
            settings = Settings.model_validate({"home": Path(folder), "data": one_file})
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"{said}.", "Give other options; `nightreel init --help` lists them.") from None
        with scratch_folder(settings.paths) as scratch:
            source = source_of(path, BIG_MATRIX, settings.data, scratch)
            ids = HomeIds.unsaved(settings)
            ids.recognise([source])
            table = read_table(source, settings.data.zone, ids, lambda _bytes: None)
    wrong = table.rejects.filter(~table.rejects["reason"].is_in(["duplicate"]))
    said = ""
    if wrong.height:
        reason = wrong["reason"][0].replace(ADVICE, f". For a decimal comma give --decimal {COMMA}")
        said = f"{wrong.height} of {len(rows)} rows cannot be read: {reason}"
    if table.frame.is_empty():
        raise InputError(f"{said}.", "Say which column is what; `nightreel init --help` lists the options.")
    users = _texts(ids, columns.USER_ID, [row[user] for row in rows])
    items = _texts(ids, columns.VIDEO_ID, [row[item] for row in rows])
    # In the order of the file; the table is sorted by time.
    at = {(row[user], row[item]): n for n, row in reversed([*enumerate(rows)])}
    shown = []
    for play in table.frame.iter_rows(named=True):
        made: dict[str, Any] = {
            "user": users.get(play[columns.USER_ID], str(play[columns.USER_ID])),
            "item": items.get(play[columns.VIDEO_ID], str(play[columns.VIDEO_ID])),
            "time": play[columns.EVENT_TIMESTAMP]
            .astimezone(settings.data.zone)
            .isoformat(sep=" ", timespec="seconds"),
        }
        if settings.data.has_lengths:
            made |= {
                "played_s": play[columns.PLAY_DURATION] / 1e3,
                "length_s": play[columns.VIDEO_DURATION] / 1e3,
            }
        made["value"] = play[columns.WATCH_RATIO]
        long = (
            settings.data.targets.long_view_s is not None
            and play[columns.PLAY_DURATION] >= settings.data.targets.long_view_s * 1e3
        )
        made["liked"] = play[columns.WATCH_RATIO] > settings.data.targets.like_threshold or long
        shown.append(made)
    shown.sort(key=lambda made: at.get((made["user"], made["item"]), len(rows)))
    return shown[:ROWS], said


def _texts(ids: HomeIds, column: str, texts: list[str]) -> dict[int, str]:
    """The ids behind the codes of a column; empty where ids are integers."""
    if not ids.is_text(column):
        return {}
    found = list(dict.fromkeys(texts))
    return dict(zip(ids.codes(column, pl.Series(found)).to_list(), found, strict=True))
