"""Displays of a run's lists by an app, and the plays that followed, from the optional exposure log.

A play belongs to the last display of its video to its user before it, of whichever run, at most a day
before. A display belongs to the run that it names, or to the one that was shown at the time.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import scan_days, table_exists
from nightreel.core.settings import Paths
from pipelines.local_days import INSTANT
from scoring.outcomes.log import Log
from scoring.outcomes.windows import LONGEST, ShownRun

_PAIR = [columns.USER_ID, columns.VIDEO_ID]
_STAMP = columns.EVENT_TIMESTAMP
_FIELDS = (*_PAIR, _STAMP, columns.POSITION, columns.RUN)


@dataclass(frozen=True)
class Exposures:
    """The displays of one run.

    Attributes:
        rows: user_id, video_id, event_timestamp, position (null if unknown); at least one row.
        plays: the plays that belong to them, with the columns of `Log.within` and that position.
    """

    rows: pl.DataFrame
    plays: pl.DataFrame

    @property
    def pairs(self) -> pl.DataFrame:
        """Each displayed pair, once."""
        return self.rows.select(_PAIR).unique()


def exposures_of(log: Log, shown: ShownRun, now: datetime) -> Exposures | None:
    """The displays of a run until `now`; None if the log has none of it."""
    table = exposure_table(log.settings.paths)
    if not shown.shown or not table_exists(table):
        return None
    stamp = pl.col(_STAMP)
    displayed = scan_days(table).select(_FIELDS)
    since = shown.shown_from
    of_run = (
        displayed.filter(stamp >= _at(since), stamp < _at(now))
        .filter(_names(shown.run.run_id) | (pl.col(columns.RUN).is_null() & _is_within(shown)))
        .collect()
    )
    if of_run.is_empty():
        return None
    newest: datetime = of_run[_STAMP].max()  # type: ignore[assignment]
    until = min(now, newest + LONGEST)
    others = displayed.filter(stamp >= _at(since), stamp < _at(until)).select([*_PAIR, _STAMP]).collect()
    plays = log.within([(since, until)])
    ordered = of_run.select(*_PAIR, _STAMP, columns.POSITION).with_columns(own=pl.lit(value=True))
    once = ordered.unique([*_PAIR, _STAMP], keep="first", maintain_order=True)
    by_time = others.unique().join(once, on=[*_PAIR, _STAMP], how="left").with_columns(at=stamp).sort(_STAMP)
    followed = plays.sort(_STAMP).join_asof(
        by_time, on=_STAMP, by=_PAIR, strategy="backward", tolerance=LONGEST, check_sortedness=False
    )
    followed = followed.filter(pl.col("own").fill_null(value=False), stamp < pl.col("at") + LONGEST)
    return Exposures(ordered.drop("own"), followed.drop("own", "at"))


def exposure_table(paths: Paths) -> Path:
    """The validated exposure log, a folder of days, which is missing where there is none."""
    return paths.tables / "exposures"


def _names(run_id: int) -> pl.Expr:
    return (pl.col(columns.RUN) == run_id).fill_null(value=False)


def _is_within(shown: ShownRun) -> pl.Expr:
    stamp = pl.col(_STAMP)
    return pl.any_horizontal(*((stamp >= _at(start)) & (stamp < _at(end)) for start, end in shown.spans))


def _at(instant: datetime) -> pl.Expr:
    return pl.lit(instant, dtype=INSTANT)
