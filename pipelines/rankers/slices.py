"""The time ranges of plays for fitting, for early stopping and for the holdout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core.errors import InputError
from nightreel.core.play_days import files_by_day, rows_of
from nightreel.core.settings import DataSettings, EvaluationSettings
from pipelines.local_days import day_before, ends_of_days, start_of_day

# A day counts as one of the log's days if it has this share of a median day's plays: KuaiRec has a few stray
# plays after its last real day.
_SHARE_OF_MEDIAN_DAY = 0.1
# It must also have this share of the plays of the median play's day, in case most days have hardly any plays.
_SHARE_OF_MEDIAN_PLAYS_DAY = 0.01


@dataclass(frozen=True)
class Slices:
    """Row ranges of plays in order of time: fit, then early stopping, then the holdout that no model sees."""

    fit: slice
    stop: slice
    holdout: slice


@dataclass(frozen=True)
class Cuts:
    """The instants between the slices, local midnights in UTC, and the last local day of the log."""

    stop_from: datetime
    holdout_from: datetime
    last_day: date

    def slices(self, instants: pl.Series) -> Slices:
        """The row ranges of plays at these ascending instants."""
        stop = instants.search_sorted(self.stop_from, side="left")
        holdout = instants.search_sorted(self.holdout_from, side="left")
        return Slices(slice(0, stop), slice(stop, holdout), slice(holdout, len(instants)))


def usual_days(plays_of_days: Mapping[date, int]) -> dict[date, int]:
    """The days with a usual number of plays, ascending."""
    some = {day: plays for day, plays in sorted(plays_of_days.items()) if plays}
    if not some:
        return {}
    counts = sorted(some.values())
    of_median_play = next(
        count for count, until in zip(counts, accumulate(counts), strict=True) if 2 * until >= sum(counts)
    )
    least = max(_SHARE_OF_MEDIAN_DAY * median(counts), _SHARE_OF_MEDIAN_PLAYS_DAY * of_median_play)
    return {day: plays for day, plays in some.items() if plays >= least}


def days_of_table(interactions: Path) -> list[date]:
    """The log's local days, as `log_days` finds them, without reading a play."""
    return list(usual_days({day: rows_of([path]) for day, path in files_by_day(interactions).items()}))


def log_days(instants: pl.Series, zone: ZoneInfo) -> list[date]:
    """The usual local days of plays at these instants (UTC, in any order)."""
    counts = ends_of_days(instants, zone).rename("end").value_counts()
    return list(usual_days({day_before(end, zone): plays for end, plays in counts.iter_rows()}))


def time_cuts(days: Sequence[date], data: DataSettings, evaluation: EvaluationSettings) -> Cuts:
    """Where to cut the log into fit, early stopping and holdout.

    The last `holdout_days` days are held out, or the last `backtest_days` if those are more, so that no model
    is trained on days of the backtest; up to `holdout_days` days before them are for early stopping. Days
    with hardly any plays do not count, and a short log holds out fewer.

    Args:
        days: the log's, from `days_of_table` or `log_days`.

    Raises:
        InputError: if the log has fewer than three days.
    """
    held_out = min(max(evaluation.holdout_days, evaluation.backtest_days), (len(days) - 1) // 2)
    if held_out < 1:
        raise InputError(
            f"interactions: plays on {len(days)} {'day' if len(days) == 1 else 'days'}; "
            "training needs three, to hold some out.",
            "Ingest a longer log.",
        )
    stop_days = min(evaluation.holdout_days, held_out)
    return Cuts(
        stop_from=start_of_day(days[-held_out - stop_days], data.zone),
        holdout_from=start_of_day(days[-held_out], data.zone),
        last_day=days[-1],
    )
