"""Videos played together: for each video those that the same users played shortly before or after it.

Two plays of a user count more the fewer plays are between them and the newer they are. Popular videos are
played next to everything, so each video's weight is reduced by its number of plays; only a little, since
popular videos are also the ones that are played next. Borders of sessions are ignored: in a feed with one or
two plays a session, the user's next session is still informative. Measured in docs/decisions/shared-lists.md.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from nightreel.core import columns
from nightreel.core.instants import DAY_US, unix_us
from pipelines.hashing import uniform_hash
from pipelines.local_days import INSTANT
from pipelines.retrieval.past import ids_and_codes
from pipelines.retrieval.sources import PLAYS_MAX

_STEPS_MAX, _PAIRS_MAX = 30, 10_000_000
_DECAY, _HALF_LIFE_DAYS, _DAMPING, _SHRINK_PLAYS = 0.9, 7, 0.1, 20.0
# Weights are whole numbers of this part of a play, so that their sums are the same in any order.
_UNIT = 1_000_000
_PLAY = [columns.USER_ID, columns.EVENT_TIMESTAMP, columns.VIDEO_ID]


@dataclass(frozen=True)
class PlayedTogether:
    """How much each video was played beside each other one.

    Attributes:
        video_id: int64, ascending, of the plays.
        weight: float64 [videos, videos], symmetric, sparse, in plays.
        damped: float64 [videos], the factor of each video's column.
    """

    video_id: np.ndarray
    weight: csr_matrix
    damped: np.ndarray

    @classmethod
    def of(cls, plays: pl.LazyFrame, cutoff: datetime, seed: int) -> "PlayedTogether":
        """Count the plays strictly before the cutoff; in a long log, those of a hashed sample of users.

        Args:
            plays: at least user_id, video_id and event_timestamp, in any order.
        """
        before = _of_some_users(plays, cutoff, seed)
        video_id, video = ids_and_codes(before[columns.VIDEO_ID].to_numpy())
        user = before[columns.USER_ID].to_numpy()
        at_us = before[columns.EVENT_TIMESTAMP].dt.timestamp("us").to_numpy()
        age_days = (unix_us(cutoff) - at_us) // DAY_US
        faded = np.array([0.5 ** (age / _HALF_LIFE_DAYS) for age in range(int(age_days.max(initial=0)) + 1)])
        newness = faded[age_days]
        steps = min(_STEPS_MAX, max(1, _PAIRS_MAX // max(len(user), 1)), max(len(user) - 1, 0))
        rows, others, weights = [], [], []
        for step in range(1, steps + 1):
            pair = np.flatnonzero((user[:-step] == user[step:]) & (video[:-step] != video[step:]))
            rows.append(video[pair])
            others.append(video[pair + step])
            weights.append(np.rint(_UNIT * _DECAY ** (step - 1) * newness[pair + step]))
        videos = len(video_id)
        one_way = csr_matrix(
            (_joined(weights, np.float64), (_joined(rows, np.int32), _joined(others, np.int32))),
            (videos, videos),
        )
        weight = csr_matrix(one_way + one_way.T)
        weight.eliminate_zeros()
        weight.data /= _UNIT
        into = np.asarray(weight.sum(axis=0)).ravel()
        return cls(video_id, weight, np.round((into + _SHRINK_PLAYS) ** -_DAMPING, 9))

    def over(self, catalogue: np.ndarray) -> csr_matrix:
        """The damped weights between the videos of a catalogue.

        Args:
            catalogue: video_id, int64, ascending.

        Returns:
            float64 [videos, videos], sparse.
        """
        own = np.flatnonzero(np.isin(self.video_id, catalogue))
        at = np.searchsorted(catalogue, self.video_id[own])
        entries = self.weight[own][:, own].tocoo()
        values = entries.data * self.damped[own][entries.col]
        return csr_matrix((values, (at[entries.row], at[entries.col])), (len(catalogue), len(catalogue)))


def _of_some_users(plays: pl.LazyFrame, cutoff: datetime, seed: int) -> pl.DataFrame:
    """Whole users with about PLAYS_MAX plays together, by user and time."""
    before = plays.filter(pl.col(columns.EVENT_TIMESTAMP) < pl.lit(cutoff, dtype=INSTANT)).select(_PLAY)
    count = before.select(pl.len()).collect(engine="streaming").item()
    if count > PLAYS_MAX:
        users = before.select(pl.col(columns.USER_ID).unique()).collect(engine="streaming")
        drawn = uniform_hash(users[columns.USER_ID].to_numpy().astype(np.uint64), seed)
        some = users.filter(pl.Series(drawn < PLAYS_MAX / count))
        before = before.join(some.lazy(), on=columns.USER_ID, how="semi")
    return before.collect(engine="streaming").sort(_PLAY)


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *parts])
