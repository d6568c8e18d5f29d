"""Which plays fit the models, which stop them early, and which are held out: ranges in time."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings, EvaluationSettings
from pipelines.local_days import ends_of_days, start_of_day

# A day counts as one of the log's days when it has this share of a median day's plays: KuaiRec has a few
# plays on days after its last real one.
_SHARE_OF_MEDIAN_DAY = 0.1


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


def plays_by_day(instants: pl.Series, zone: ZoneInfo) -> dict[date, int]:
    """The number of plays on each local day, ascending; days with hardly any plays are left out.

    Args:
        instants: of all plays, UTC, in any order.
    """
    counts = ends_of_days(instants, zone).rename("end").value_counts().sort("end")
    days = counts.filter(pl.col("count") >= _SHARE_OF_MEDIAN_DAY * pl.col("count").median())
    return {end.astimezone(zone).date() - timedelta(days=1): plays for end, plays in days.iter_rows()}


def log_days(instants: pl.Series, zone: ZoneInfo) -> list[date]:
    """The log's local days, as `plays_by_day` has them."""
    return list(plays_by_day(instants, zone))


def time_cuts(instants: pl.Series, data: DataSettings, evaluation: EvaluationSettings) -> Cuts:
    """Where to cut the log into fit, early stopping and holdout.

    The last `holdout_days` days are held out, or the last `backtest_days` if those are more, so that no model
    is trained on days of the backtest; up to `holdout_days` days before them are for early stopping. Days
    with hardly any plays do not count, and a short log holds out fewer.

    Args:
        instants: of all plays, UTC, ascending.

    Raises:
        InputError: if the log has fewer than three days.
    """
    days = log_days(instants, data.zone)
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
