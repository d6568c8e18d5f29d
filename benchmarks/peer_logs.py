"""The logs that peers and nightreel make lists from, and what their lists are then judged by."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

LONG_VIEW_MS = 18_000
FEED_RATIO = 0.95
# A small_matrix with more of its users times videos than this is fully observed; KuaiRec's has 99.6 %.
_FULL_SHARE = 0.5


@dataclass(frozen=True)
class PeerTask:
    """One set of lists to be made and judged.

    Attributes:
        raw: the folder that lists are made from.
        plays: the same log, with `liked`, for the peers.
        relevant: user_id, video_id, each pair once, never played before.
        label: nightreel's settings of it.
        known: user_id, video_id, the pairs whose outcome is known, if any other video of a list would count
            as not liked though nobody knows; None if all of a list is judged.
    """

    name: str
    raw: Path
    plays: pd.DataFrame
    relevant: pd.DataFrame
    label: dict[str, float]
    by_day: bool
    known: pd.DataFrame | None = None

    def judged(self, lists: pd.DataFrame) -> pd.DataFrame:
        """The rows of some lists (user_id, video_id, rank) that are judged; gaps in ranks do not count."""
        return lists if self.known is None else lists.merge(self.known, on=["user_id", "video_id"])


def held_out(name: str, raw: Path, like_threshold: float) -> PeerTask:
    """Lists from big_matrix, judged by small_matrix: its liked new pairs of users known from big.

    A fully observed small_matrix knows a block of videos, so only those of a list that are in it are judged.
    """
    columns = ["user_id", "video_id", "watch_ratio", "timestamp", "date"]
    plays = pd.read_csv(raw / "big_matrix.csv", usecols=columns).dropna(subset=["watch_ratio"])
    small = pd.read_csv(raw / "small_matrix.csv", usecols=columns)
    liked = small[(small.watch_ratio > like_threshold) & small.user_id.isin(plays.user_id)]
    plays["liked"] = plays.watch_ratio > like_threshold
    pairs = small[["user_id", "video_id"]].drop_duplicates()
    is_full = len(pairs) > _FULL_SHARE * pairs.user_id.nunique() * pairs.video_id.nunique()
    return PeerTask(
        name,
        raw,
        plays,
        _new_pairs(liked, plays),
        {"data.targets.like_threshold": like_threshold},
        by_day=False,
        known=pairs if is_full else None,
    )


def feed_day(name: str, raw: Path, day: int, work: Path) -> PeerTask:
    """Lists as of the start of a day (like 20220501) of a feed, judged by its liked plays of new videos.

    Liked: watch_ratio >= .95, or a play of 18 s or of the whole of a shorter video: the platform's long view.
    The folder without that day and what followed is written below `work`.
    """
    log = pd.read_csv(raw / "big_matrix.csv")
    play, length = log.play_duration, log.video_duration
    whole = (length > 0) & (length < LONG_VIEW_MS) & (play >= length)
    log["liked"] = (log.watch_ratio >= FEED_RATIO) | (play >= LONG_VIEW_MS) | whole
    plays = log[log.date < day]
    if plays.empty or not (log.date == day).any():
        raise SystemExit(f"{raw / 'big_matrix.csv'} has no plays before or on {day}; choose another day")
    cut = work / "raw"
    shutil.rmtree(cut, ignore_errors=True)
    shutil.copytree(raw, cut)
    plays.drop(columns="liked").to_csv(cut / "big_matrix.csv", index=False)
    daily = pd.read_csv(raw / "item_daily_features.csv")
    daily[daily.date < day].to_csv(cut / "item_daily_features.csv", index=False)
    relevant = _new_pairs(log[(log.date == day) & log.liked], plays)
    label = {"data.targets.like_threshold": FEED_RATIO, "data.targets.long_view_s": LONG_VIEW_MS / 1_000}
    return PeerTask(name, cut, plays, relevant, label, by_day=True)


def _new_pairs(liked: pd.DataFrame, plays: pd.DataFrame) -> pd.DataFrame:
    """The distinct pairs that are not among the plays."""
    pairs = liked[["user_id", "video_id"]].drop_duplicates()
    played = pd.MultiIndex.from_frame(plays[["user_id", "video_id"]])
    new = ~pd.MultiIndex.from_frame(pairs).isin(played)
    return pairs[np.asarray(new)].reset_index(drop=True)
