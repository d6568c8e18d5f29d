"""Each user's plays in order of time, with their outcomes as small codes."""

from dataclasses import dataclass

import numpy as np

from nightreel.core.instants import SECOND_US
from pipelines.retrieval.counting import positions_by
from pipelines.retrieval.past import Past

_RATIO_BORDERS = np.array([0.05, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5], dtype=np.float32)
_HOUR_US = 3_600 * SECOND_US
OUTCOMES, GAPS, HOURS = 2 * (len(_RATIO_BORDERS) + 1), 26, 24


def outcome_codes(amount: np.ndarray, liked: np.ndarray) -> np.ndarray:
    """The bucket of each play's watch_ratio, by whether it was liked: int32, below OUTCOMES."""
    bucket = np.searchsorted(_RATIO_BORDERS, amount, side="right")
    found: np.ndarray = (2 * bucket + liked).astype(np.int32)
    return found


def gap_codes(gap_us: np.ndarray) -> np.ndarray:
    """The logarithm to base 2 of a time in seconds: int32, below GAPS; the last stands for unknown."""
    seconds = np.maximum(gap_us, 0) // SECOND_US
    # This is exact for float64, so it is the same on every processor.
    exponent = np.frexp(seconds.astype(np.float64))[1]
    found: np.ndarray = np.minimum(exponent, GAPS - 2).astype(np.int32)
    return found


def hour_codes(at_us: np.ndarray) -> np.ndarray:
    """The hour in UTC: int32. A zone moves all hours by the same, so the transformer need not know it."""
    found: np.ndarray = ((at_us // _HOUR_US) % HOURS).astype(np.int32)
    return found


def gaps_before(at_us: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """The code of the time since each play's previous one; GAPS - 1 where a user begins."""
    since = gap_codes(np.diff(at_us, prepend=at_us[:1]))
    found: np.ndarray = np.where(is_first, GAPS - 1, since).astype(np.int32)
    return found


@dataclass(frozen=True)
class Timelines:
    """Plays by user and time.

    Attributes:
        starts: int64 [users + 1], where each user's plays begin.
        video, outcome, gap, hour: int32 [plays].
        at_us: int64 [plays].
        liked: bool [plays].
        likes: int64, the positions of the liked plays, ascending.
        likes_until: int64 [plays], the number of liked plays up to each one, itself included.
    """

    starts: np.ndarray
    video: np.ndarray
    outcome: np.ndarray
    gap: np.ndarray
    hour: np.ndarray
    at_us: np.ndarray
    liked: np.ndarray
    likes: np.ndarray
    likes_until: np.ndarray

    @classmethod
    def of(cls, past: Past, videos: np.ndarray) -> "Timelines":
        """Sort the plays of a log.

        Args:
            videos: int64 [videos of the past], the code of each video.
        """
        order, starts = positions_by(past.user, len(past.user_id))
        at_us, liked = past.at_us[order], past.liked[order]
        is_first = np.zeros(len(order), dtype=bool)
        is_first[starts[:-1][np.diff(starts) > 0]] = True
        return cls(
            starts,
            videos[past.video[order]].astype(np.int32),
            outcome_codes(past.amount[order], liked),
            gaps_before(at_us, is_first),
            hour_codes(at_us),
            at_us,
            liked,
            np.flatnonzero(liked),
            np.cumsum(liked),
        )
