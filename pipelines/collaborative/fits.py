"""The result of every ALS model: factors of users and of videos, and whom each row belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns

FIRST_ITERATIONS = 5
"""Iterations of the first fit, which starts from random factors; more change the order of no list."""
REFIT_ITERATIONS = 2
"""Iterations of each later fit, which starts from the one before and is near its end then."""
REGULARIZATION_PLAYS = 15.0
"""Weight, in plays, that pulls factors to zero: someone with fewer plays than this is mostly the mean."""


@dataclass(frozen=True)
class Fit:
    """The factors of one fit: sorted ids, each with a float32 row; only ids with a play before cutoff.

    The higher the product of a user's and a video's row, the better the video fits the user; what it
    estimates is the model's own, so products of two models cannot be compared.
    """

    cutoff: datetime
    user_ids: np.ndarray
    user_factors: np.ndarray
    video_ids: np.ndarray
    video_factors: np.ndarray


def ends_of_pasts(plays: pl.DataFrame, cutoffs: Sequence[datetime]) -> list[int]:
    """The number of plays strictly before each cutoff, for plays in order of time."""
    return [plays[columns.EVENT_TIMESTAMP].search_sorted(cutoff, side="left") for cutoff in cutoffs]


@dataclass(frozen=True)
class Keys:
    """Users or videos, and their rows in the factor matrices, in the order in which they became known."""

    ids: np.ndarray  # the id of each row
    rows: np.ndarray  # int32, the row of each play's key
    known: list[int]  # how many rows are known at each cutoff

    @classmethod
    def of(cls, keys: pl.Series, ends: Sequence[int]) -> "Keys":
        """Assign rows: to the keys of the first window by id, then to those new in the next, and so on."""
        window = pl.Series(np.searchsorted(ends, np.arange(keys.len()), side="right"), dtype=pl.Int32)
        first = (
            pl.DataFrame({"key": keys, "window": window})
            .group_by("key")
            .agg(pl.col("window").min())
            .sort("window", "key")
        )
        ids = first["key"].to_numpy()
        order = np.argsort(ids)
        rows = order[np.searchsorted(ids, keys.to_numpy(), sorter=order)].astype(np.int32)
        known = np.searchsorted(first["window"].to_numpy(), np.arange(len(ends)), side="right")
        return cls(ids, rows, [int(count) for count in known])

    def in_rows(self, ids: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """The factors, given by ascending ids, in the order of these rows: of the first len(ids) of them."""
        rows: np.ndarray = factors[np.searchsorted(ids, self.ids[: len(ids)])]
        return rows

    def by_id(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids that these rows stand for, ascending, and the rows in that order, float32."""
        ids = self.ids[: len(factors)]
        order = np.argsort(ids)
        return ids[order], factors[order].astype(np.float32)
