"""Users' history with groups of videos before an instant: plays, likes, and the last play."""

from dataclasses import dataclass

import numpy as np

from nightreel.core.catalogue.formulas import GROUP_PRIOR_PLAYS, days_between, shrunk_share
from pipelines.retrieval.histories import Histories

_NEVER = -1


@dataclass(frozen=True)
class WithGroups:
    """The history of some users with the groups of one kind, such as authors.

    Attributes:
        codes: int64 [videos], each video's group, negative where it has none.
        plays, likes: int64 [users * groups].
        last_us: int64 [users * groups], _NEVER without a play.
    """

    codes: np.ndarray
    groups: int
    plays: np.ndarray
    likes: np.ndarray
    last_us: np.ndarray

    @classmethod
    def of(cls, histories: Histories, codes: np.ndarray) -> "WithGroups":
        """Count the plays of the histories by user and group."""
        groups = int(codes.max(initial=_NEVER)) + 1
        cells = len(histories.plays) * groups
        group = codes[histories.play_video]
        known = group >= 0
        cell = histories.play_user[known] * groups + group[known]
        last_us = np.full(cells, _NEVER, dtype=np.int64)
        np.maximum.at(last_us, cell, histories.play_us[known])
        return cls(
            codes,
            groups,
            np.bincount(cell, minlength=cells),
            np.bincount(cell[histories.play_liked[known]], minlength=cells),
            last_us,
        )

    def of_pairs(self, user: np.ndarray, video: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Plays, likes (0 without a group), and the last play in microseconds, NaN without one: float64."""
        group = self.codes[video]
        known = group >= 0
        cell = user[known] * self.groups + group[known]
        plays, likes = np.zeros(len(user)), np.zeros(len(user))
        last_us = np.full(len(user), np.nan)
        plays[known], likes[known] = self.plays[cell], self.likes[cell]
        last_us[known] = np.where(self.last_us[cell] == _NEVER, np.nan, self.last_us[cell])
        return plays, likes, last_us


def codes_of(ids: np.ndarray) -> np.ndarray:
    """Dense codes from 0 for ids: int64; negative ids mean unknown and become -1."""
    known = ids >= 0
    codes = np.full(len(ids), -1, dtype=np.int64)
    codes[known] = np.unique(ids[known], return_inverse=True)[1]
    return codes


def group_features(
    name: str, codes: np.ndarray, histories: Histories, user: np.ndarray, video: np.ndarray
) -> dict[str, np.ndarray]:
    """A group's features of some pairs, by name.

    Args:
        codes: int64 [videos of the catalogue], from `codes_of`.
    """
    plays, likes, last_us = WithGroups.of(histories, codes).of_pairs(user, video)
    return {
        f"{name}_plays": plays,
        f"{name}_liked_share": shrunk_share(likes, plays, histories.liked_share[user], GROUP_PRIOR_PLAYS),
        f"{name}_of_liked": likes / (histories.likes[user] + 1.0),
        f"{name}_days_since": days_between(last_us, histories.instant_us[user]),
    }


def repeat_features(
    histories: Histories, user: np.ndarray, video: np.ndarray, videos: int
) -> dict[str, np.ndarray]:
    """Whether and when the user of a pair had played its video.

    Args:
        videos: how many the catalogue has.
    """
    # Not by cells: users times videos would be many.
    pair = histories.play_user * videos + histories.play_video
    order = np.argsort(pair, kind="stable")
    asked = user * videos + video
    starts, stops = (np.searchsorted(pair[order], asked, side=side) for side in ("left", "right"))
    last_us = np.full(len(user), np.nan)
    some = stops > starts
    last_us[some] = histories.play_us[order[stops[some] - 1]]
    return {
        "video_played": (stops - starts).astype(np.float64),
        "days_since_video": days_between(last_us, histories.instant_us[user]),
    }
