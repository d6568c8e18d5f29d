"""Early stopping by NDCG@10 on the last day before the cutoff, from which training does not learn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nightreel.core.instants import DAY_US
from pipelines.hashing import uniform_hash
from pipelines.retrieval.past import Past
from pipelines.retrieval.sequence.timelines import Timelines

_USERS_MAX, _USERS_MIN, _SHARE, _TAIL = 2_000, 100, 0.5, 0.2
_DEPTH, _BLOCK_USERS = 10, 64
_HALF_LIVES_DAYS = (2.0, 7.0, None)
_GAIN = 1 / np.log2(np.arange(2, _DEPTH + 2))
_IDEAL = np.append(0.0, np.cumsum(_GAIN))


@dataclass(frozen=True)
class StopDay:
    """Users who liked something new to them after their border.

    Attributes:
        borders: int64 [all users], the position after each one's last play that is learnt from.
        users: int64 [users], codes.
        instant_us: int64 [users], as of which each one's list is asked for.
        relevant: the videos that each of them went on to like.
        name: what it is, for readers.
        new_only: whether only videos count that the user had not played before the border.
    """

    borders: np.ndarray
    users: np.ndarray
    instant_us: np.ndarray
    relevant: list[np.ndarray]
    name: str
    new_only: bool

    @classmethod
    def of(cls, past: Past, plays: Timelines, seed: int, *, new_only: bool) -> "StopDay":
        """The last day's plays or, if hardly any of its users had played before, some users' last fifth.

        Args:
            new_only: whether lists leave out what the user had played.
        """
        begins_us = past.cutoff_us - DAY_US
        if len(past):
            # A log may have ended before the cutoff.
            begins_us -= max(0, past.cutoff_us - 1 - int(past.at_us[-1])) // DAY_US * DAY_US
        row = np.repeat(np.arange(len(past.user_id)), np.diff(plays.starts))
        before = np.bincount(row[plays.at_us < begins_us], minlength=len(past.user_id))
        day = cls._after(plays, plays.starts[:-1] + before, begins_us, "the last day", new_only=new_only)
        if len(day.users) >= _USERS_MIN:
            return day
        drawn = uniform_hash(past.user_id.astype(np.uint64), seed + 3) < _SHARE
        size = np.diff(plays.starts)
        held = np.where(drawn & (size > 1), np.maximum(1, (size * _TAIL).astype(np.int64)), 0)
        name = "the last fifth of some users' plays"
        return cls._after(plays, plays.starts[1:] - held, None, name, new_only=new_only)

    @classmethod
    def _after(
        cls, plays: Timelines, borders: np.ndarray, begins_us: int | None, name: str, *, new_only: bool
    ) -> "StopDay":
        users, relevant = [], []
        candidates = np.flatnonzero((borders > plays.starts[:-1]) & (borders < plays.starts[1:]))
        order = np.argsort(uniform_hash(candidates.astype(np.uint64), 0), kind="stable")
        for user in candidates[order].tolist():
            start, border, stop = plays.starts[user], borders[user], plays.starts[user + 1]
            liked = plays.video[border:stop][plays.liked[border:stop]]
            new = np.setdiff1d(liked, plays.video[start:border] if new_only else [])
            if len(new):
                users.append(user)
                relevant.append(new)
            if len(users) == _USERS_MAX:
                break
        chosen = np.array(users, dtype=np.int64)
        instants = plays.at_us[borders[chosen]] if begins_us is None else np.full(len(chosen), begins_us)
        return cls(borders, chosen, instants, relevant, name, new_only)

    def ndcg(self, plays: Timelines, scores: Callable[[slice], np.ndarray]) -> float:
        """The mean NDCG@10 of lists of all videos, where `new_only` is set without those played before.

        Args:
            scores: of all videos, for a range of users: [users, videos]; they are overwritten.
        """
        found = []
        for start in range(0, len(self.users), _BLOCK_USERS):
            block = slice(start, min(start + _BLOCK_USERS, len(self.users)))
            of_block = scores(block)
            for own, user, relevant in zip(
                of_block, self.users[block].tolist(), self.relevant[block], strict=True
            ):
                if self.new_only:
                    own[plays.video[plays.starts[user] : self.borders[user]]] = -np.inf
                depth = min(_DEPTH, len(own))
                best = np.argpartition(-own, depth - 1)[:depth]
                best = best[np.argsort(-own[best], kind="stable")]
                gain = (np.isin(best, relevant) * _GAIN[:depth]).sum()
                found.append(gain / _IDEAL[min(len(relevant), _DEPTH)])
        return float(np.mean(found)) if found else 0.0

    def popularity(self, plays: Timelines, videos: int) -> tuple[float, float | None]:
        """The NDCG of the best of three lists for all, and its half-life in days; None: likes do not decay.

        If users' plays end at different times, there is only one list.
        """
        until_us = int(self.instant_us.min()) if len(self.instant_us) else 0
        is_one_day = bool((self.instant_us == until_us).all())
        found = []
        for half_life in _HALF_LIVES_DAYS if is_one_day else (None,):
            count = liked_before(plays, self.borders, until_us, half_life, videos)

            def of_all(block: slice, count: np.ndarray = count) -> np.ndarray:
                return np.tile(count, (block.stop - block.start, 1))

            found.append((self.ndcg(plays, of_all), half_life))
        return max(found, key=lambda one: one[0])


def liked_before(
    plays: Timelines, borders: np.ndarray, until_us: int, half_life_days: float | None, videos: int
) -> np.ndarray:
    """The liked plays of each video before users' borders, fading until an instant: float64 [videos]."""
    likes = plays.likes[plays.likes < np.repeat(borders, np.diff(plays.starts))[plays.likes]]
    age_days = np.maximum(0, until_us - plays.at_us[likes]) / DAY_US
    faded = None if half_life_days is None else 0.5 ** (age_days / half_life_days)
    return np.bincount(plays.video[likes], faded, minlength=videos).astype(np.float64)
