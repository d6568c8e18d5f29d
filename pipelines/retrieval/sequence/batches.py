"""Windows of plays, cut differently in each epoch, and the liked play that each play should predict."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.retrieval.sequence.model import LENGTH
from pipelines.retrieval.sequence.popularity import ROWS_MAX, Popularity
from pipelines.retrieval.sequence.timelines import Timelines, gap_codes

_PLAYS_MAX, _SHORT = 64 * LENGTH, LENGTH // 4
_SHORT_SHARE = 0.5
_COMPARED_MIN, _COMPARED, _PAIRS = 256, 2_048, 1 << 21
# The probability of predicting the liked play after the next one instead, and so on.
_FURTHER = 0.5
_NEVER = 1e9


@dataclass(frozen=True)
class Batch:
    """The training examples of a step.

    Attributes:
        plays, wait: what `encode` takes; a batch of short windows has more of them.
        at, target: int32 [targets], the play from which to predict, an index into [windows x length], and the
            video that is liked next.
        weight: float32 [targets], 0 where there are fewer.
        compared, expected: int32 and float32 [compared], videos that were not liked next, and the logarithm
            of how often each of them is expected in a batch.
        popular: float32 [periods, compared], how popular they were in each period.
        period: int32 [targets], that of each target.
        of_target: float32 [targets], how popular it was.
    """

    plays: np.ndarray
    wait: np.ndarray
    at: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    compared: np.ndarray
    expected: np.ndarray
    popular: np.ndarray
    period: np.ndarray
    of_target: np.ndarray


class Batches:
    """Draws batches from the plays before a border of each user."""

    def __init__(
        self,
        plays: Timelines,
        borders: np.ndarray,
        popularity: Popularity,
        seed: int,
        since_us: int | None,
    ) -> None:
        """Count the liked plays that may be learnt from.

        Args:
            borders: int64 [users], the position after each user's last play that may be learnt from.
            since_us: windows that end before it are drawn only as often as later ones; None: all are drawn.
        """
        self._plays, self._borders, self._since_us = plays, borders, since_us
        self._popularity = popularity
        self._random = np.random.default_rng(seed)
        self._border = np.repeat(borders, np.diff(plays.starts))
        likes = plays.likes[plays.likes < self._border[plays.likes]]
        self._known, counts = np.unique(plays.video[likes], return_counts=True)
        share = counts**0.75
        self._share = share / share.sum()
        self._sums = np.cumsum(self._share)
        # One of two sizes, so that a growing log compiles at most once more.
        self._compared_with = _COMPARED if len(self._known) > _COMPARED_MIN else _COMPARED_MIN
        # A batch predicts from each of its plays; with many videos to compare with, it has fewer of them.
        self._targets = min(_PLAYS_MAX, _PAIRS // self._compared_with)

    def __bool__(self) -> bool:
        return len(self._known) > 1 and len(self._windows()[0]) > 0

    def epoch(self) -> Iterator[Batch]:
        """All windows once, in an order of chance."""
        starts, stops = self._windows()
        order = self._random.permutation(len(starts))
        is_short = (stops - starts <= _SHORT)[order]
        # Each length is compiled separately, which takes as long as a hundred steps.
        is_short &= is_short.mean() > _SHORT_SHARE
        parts = [
            (chosen[at : at + self._targets // length], length)
            for chosen, length in ((order[is_short], _SHORT), (order[~is_short], LENGTH))
            for at in range(0, len(chosen), self._targets // length)
        ]
        for part in self._random.permutation(len(parts)).tolist():
            windows, length = parts[part]
            yield self._batch(starts[windows], stops[windows], length)

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Each user's plays in windows; the first ends at random, so that borders differ between epochs."""
        first, last = self._plays.starts[:-1], self._borders
        some = last - first > 1
        first, last = first[some], last[some]
        size = last - first
        offset = np.where(size <= LENGTH, size, self._random.integers(_SHORT, LENGTH + 1, len(size)))
        count = 1 + np.maximum(0, -(-(size - offset) // LENGTH))
        user = np.repeat(np.arange(len(size)), count)
        number = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
        stop = np.minimum(first[user] + offset[user] + number * LENGTH, last[user])
        start = np.maximum(first[user], stop - LENGTH)
        if self._since_us is None:
            return start, stop
        is_new = self._plays.at_us[stop - 1] >= self._since_us
        old = self._random.permutation(np.flatnonzero(~is_new))[: max(1, int(is_new.sum()))]
        chosen = np.concatenate([np.flatnonzero(is_new), old])
        return start[chosen], stop[chosen]

    def _batch(self, starts: np.ndarray, stops: np.ndarray, length: int) -> Batch:
        plays, windows = self._plays, self._targets // length
        index = starts[:, None] + np.arange(length)
        is_play = index < stops[:, None]
        index = np.where(is_play, index, starts[:, None])
        # No play of a window sees the padding after its end.
        tokens = np.zeros((4, windows, length), dtype=np.int32)
        for row, values in enumerate((plays.video, plays.outcome, plays.gap, plays.hour)):
            tokens[row, : len(starts)] = values[index]
        like = plays.likes_until[index] + self._random.geometric(1 - _FURTHER, index.shape) - 1
        target = plays.likes[np.minimum(like, len(plays.likes) - 1)]
        usable = is_play & (like < len(plays.likes)) & (target < self._border[index])
        wait = np.zeros((windows, length), dtype=np.int32)
        wait[: len(starts)] = gap_codes(np.where(usable, plays.at_us[target] - plays.at_us[index], 0))
        at = self._random.permutation(np.flatnonzero(usable))[: self._targets]
        padded = np.zeros((2, self._targets), dtype=np.int32)
        liked = target.ravel()[at]
        padded[:, : len(at)] = at, plays.video[liked]
        weight = (np.arange(self._targets) < len(at)).astype(np.float32)
        compared, expected = self._compared()
        then = np.zeros(self._targets, dtype=np.int32)
        then[: len(at)] = self._popularity.at(plays.at_us[liked])
        known = self._popularity.log_liked
        popular = np.zeros((ROWS_MAX, len(compared)), dtype=np.float32)
        popular[: len(known)] = known[:, compared]
        return Batch(
            tokens,
            wait,
            padded[0],
            padded[1],
            weight,
            compared,
            expected,
            popular,
            then,
            known[then, padded[1]],
        )

    def _compared(self) -> tuple[np.ndarray, np.ndarray]:
        """All videos if they are few, else a random sample in which popular ones are more frequent."""
        if len(self._known) > _COMPARED:
            drawn = np.searchsorted(self._sums, self._random.random(_COMPARED) * self._sums[-1])
            drawn = np.minimum(drawn, len(self._known) - 1)
            expected = np.log(self._share[drawn] * _COMPARED)
            return self._known[drawn].astype(np.int32), expected.astype(np.float32)
        found = np.full(self._compared_with, self._known[0], dtype=np.int32)
        expected = np.full(self._compared_with, _NEVER, dtype=np.float32)
        found[: len(self._known)], expected[: len(self._known)] = self._known, 0.0
        return found, expected
