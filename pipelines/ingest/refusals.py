"""Refuses a raw file as a whole although its rows can be read."""

from pathlib import Path

import polars as pl

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings
from pipelines.ingest.ids import remedy_for
from pipelines.ingest.reject_columns import LINE, REASON
from pipelines.ingest.sources import Source
from pipelines.ingest.summary import located
from pipelines.ingest.tables import DUPLICATE

_REPAIR_SHARE = 0.5


def ask_which_ratings(source: Source, highest: float, settings: DataSettings) -> None:
    """Raise InputError if ratings exceed five stars and no setting says which of them are liked.

    Args:
        highest: the highest value of a play.
    """
    if settings.log is None or settings.log.columns.rating is None:
        return
    stars = 5
    if highest > stars and "like_threshold" not in settings.targets.model_fields_set:
        raise InputError(
            f"{source.path}: ratings of up to {highest:g}. Above which is a play liked?",
            f"Set [data.targets] like_threshold, like like_threshold = {highest * 0.7:g}, and "
            f"watch_ratio_clip = {highest:g}.",
        )


def refuse_too_many(
    source: Source, rejects: pl.DataFrame, good: int, kept: Path, settings: DataSettings
) -> None:
    """Raise InputError where the share of rejected rows is above max_reject_share; they are kept then too.

    Args:
        rejects: of the whole file; duplicates do not count.
        good: the number of its other rows.
        kept: the path for the rejects.
    """
    wrong = rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = good + rejects.height
    if wrong.height > settings.max_reject_share * rows:
        with atomic_write(kept) as temporary:
            located(rejects, source).write_parquet(temporary)
        first = wrong.row(0, named=True)
        path, line = source.header.text.where(source.path, first[LINE])
        share = wrong.height / rows
        remedy = f"Repair the rows, or allow rejects: [data] max_reject_share = {_rounded_up(share):g}."
        if share > _REPAIR_SHARE:  # a share that allows this would allow the loss of the whole file
            few = "No row is good" if wrong.height == rows else "Most rows are bad"
            remedy = f"{few}: repair the file, or put the right one there."
        remedy += remedy_for(settings, first[REASON])
        raise InputError(
            f"{path}, {source.header.unit} {line}, {first[REASON]}. {wrong.height} of {rows} rows "
            f"({share:.2%}) are rejected, more than [data] max_reject_share = "
            f"{settings.max_reject_share:g}; all of them are in {kept}.",
            remedy,
        )


def _rounded_up(share: float) -> float:
    """The share with few digits, not less than it."""
    digits = 2
    while round(share, digits) < share:
        digits += 1
    return round(share, digits)
