"""The training examples of the next day's rankers: users at the last nights, or in the middle of sessions."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.instants import DAY_US, SECOND_US, unix_us
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FitNeeds
from pipelines.hashing import uniform_hash
from pipelines.local_days import day_before, ends_of_days, start_of_day
from pipelines.model_rows.tonight import drawn_users
from pipelines.retrieval.past import Past

SMALL_LOG_PLAYS, _SMALL_LOG_NIGHTS = 1_000_000, 14
_EXAMPLES_MIN = 1_000
_SESSION_CUTOFFS, _SESSION_PLAYS, _SESSION_INSTANTS = 24, 10, 3
PLAYS_MIN = 1_000  # plays before a cutoff, for sources to learn from
_DAY_SHARE = 0.1
NIGHTS, SESSIONS = "nights", "sessions"


@dataclass(frozen=True)
class Examples:
    """Users at an instant each, of one cutoff.

    Attributes:
        until_us: int64, the end of the window in which each one's likes count.
    """

    cutoff: datetime
    user_id: np.ndarray
    instant_us: np.ndarray
    until_us: np.ndarray


def examples_of_nights(
    past: Past, plays: pl.DataFrame, nights: int, users_max: int, settings: FitNeeds
) -> tuple[str, list[Examples]]:
    """NIGHTS and their users, or SESSIONS and theirs where too few of the nights' users had played before."""
    instants = plays[columns.EVENT_TIMESTAMP].head(len(past))
    ends = ends_of_days(instants, settings.data.zone)
    end_us = ends.dt.timestamp("us").to_numpy()
    days, counts = np.unique(end_us, return_counts=True)
    days = days[counts >= _DAY_SHARE * np.median(counts)]
    examples = nights * users_max
    if len(past) <= SMALL_LOG_PLAYS:
        # More nights for a log of few users, but no more examples for one of many.
        nights = max(nights, _SMALL_LOG_NIGHTS)
    last_days = days[::-1][:nights]
    begins = np.searchsorted(end_us, last_days, side="left")
    last_days, begins = last_days[begins >= PLAYS_MIN], begins[begins >= PLAYS_MIN]
    # If a short log lacks some nights, the others get their share of examples.
    users = max(1, examples // max(1, len(last_days)))
    first = np.full(len(past.user_id), np.iinfo(np.int64).max)
    np.minimum.at(first, past.user, past.at_us)
    found: list[Examples] = []
    warm = 0
    for day, begin in zip(last_days.tolist(), begins.tolist(), strict=True):
        cutoff = start_of_window(day, settings.data)
        cutoff_us = unix_us(cutoff)
        of_day = slice(begin, int(np.searchsorted(end_us, day, side="right")))
        # A user who liked nothing says nothing about the order of candidates.
        active = np.unique(past.user[of_day][past.liked[of_day]])
        chosen = active[drawn_users(past.user_id[active], users, settings.seed + day % 997)]
        warm += int((first[chosen] < cutoff_us).sum())
        found.append(
            Examples(
                cutoff,
                past.user_id[chosen],
                np.full(len(chosen), cutoff_us),
                np.full(len(chosen), day),
            )
        )
    if warm >= _EXAMPLES_MIN or len(past) > SMALL_LOG_PLAYS:
        return NIGHTS, found[::-1]
    sessions = _sessions(past, end_us, settings.data, settings.seed)
    if sum(len(one.user_id) for one in sessions) > warm:
        return SESSIONS, sessions
    return NIGHTS, found[::-1]


def _sessions(past: Past, end_us: np.ndarray, settings: DataSettings, seed: int) -> list[Examples]:
    """Users in the middle of a day's plays, at cutoffs that divide the log's plays about evenly."""
    borders = np.linspace(0.1, 1.0, _SESSION_CUTOFFS + 1) * len(past)
    cutoffs = sorted({start_of_window(int(end_us[min(int(b), len(past) - 1)]), settings) for b in borders})
    cutoff_us = np.array([unix_us(cutoff) for cutoff in cutoffs])
    order = np.lexsort((past.at_us, end_us, past.user))
    frame = pl.DataFrame({"user": past.user[order], "end": end_us[order], "at": past.at_us[order]}).group_by(
        "user", "end", maintain_order=True
    )
    sessions = frame.agg(pl.len().alias("plays"), pl.col("at").unique(maintain_order=True)).filter(
        (pl.col("plays") >= _SESSION_PLAYS) & (pl.col("at").list.len() >= _SESSION_INSTANTS)
    )
    user = past.user_id[sessions["user"].to_numpy()]
    ends = sessions["end"].to_numpy()
    drawn = uniform_hash((user * 1_000_003 + ends // DAY_US).astype(np.uint64), seed)
    lengths = sessions["at"].list.len().to_numpy()
    split = (lengths * (0.3 + 0.6 * drawn)).astype(np.int64)
    at = sessions.with_columns(pl.Series("split", split)).select(pl.col("at").list.get(pl.col("split")))
    instant = at.to_series().to_numpy()
    of_cutoff = np.searchsorted(cutoff_us, instant, side="right") - 1
    found = []
    for number, cutoff in enumerate(cutoffs):
        rows = of_cutoff == number
        enough = int(np.searchsorted(past.at_us, cutoff_us[number])) >= PLAYS_MIN
        if enough and rows.any():
            found.append(Examples(cutoff, user[rows], instant[rows], ends[rows]))
    return found


def start_of_window(end_us: int, settings: DataSettings) -> datetime:
    """The beginning of the local day that ends at an instant."""
    end = datetime.fromtimestamp(end_us / SECOND_US, UTC)
    return start_of_day(day_before(end, settings.zone), settings.zone)
