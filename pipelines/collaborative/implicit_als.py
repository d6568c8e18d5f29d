"""The package implicit's ALS on a growing log, behind the same contract as our own model.

implicit takes every pair that was never played for a weak dislike (Hu, Koren and Volinsky 2008,
"Collaborative filtering for implicit feedback datasets"). A liked play adds to its pair's confidence, a
disliked one takes from it: a pair whose sum is negative is a dislike of that confidence.

Measured against our own model in docs/decisions/als.md.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FitNeeds
from pipelines.collaborative.fits import (
    FIRST_ITERATIONS,
    REFIT_ITERATIONS,
    REGULARIZATION_PLAYS,
    Fit,
    Keys,
    ends_of_pasts,
)

# How much a ratio of 1 adds to the confidence of 1; a dislike is as sure as such a like.
_ALPHA = 100.0


def implicit_fits(
    plays: pl.DataFrame, cutoffs: Sequence[datetime], settings: FitNeeds, done: Fit | None = None
) -> Iterator[Fit]:
    """Fit ALS at each cutoff on the plays strictly before it, starting from the fit before.

    No fit depends on plays, users or videos that come after its cutoff.

    Args:
        plays: user_id, video_id, event_timestamp (ascending), watch_ratio; at least one before the first
            cutoff.
        cutoffs: UTC, ascending.
        done: the fit of one of these cutoffs to continue from; only later ones are fitted.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    ends = ends_of_pasts(plays, cutoffs)
    users = Keys.of(plays[columns.USER_ID], ends)
    videos = Keys.of(plays[columns.VIDEO_ID], ends)
    confidences = _confidences(plays[columns.WATCH_RATIO].to_numpy(), settings.data)
    last: tuple[np.ndarray, np.ndarray] | None = None
    if done is not None:
        last = (
            users.in_rows(done.user_ids, done.user_factors),
            videos.in_rows(done.video_ids, done.video_factors),
        )
    for cutoff, end, users_known, videos_known in zip(cutoffs, ends, users.known, videos.known, strict=True):
        if done is not None and cutoff <= done.cutoff:
            continue
        pairs = csr_matrix(
            (confidences[:end], (users.rows[:end], videos.rows[:end])), shape=(users_known, videos_known)
        )
        # This is a weight in plays; implicit wants one in confidence.
        weight_a_play = float(np.abs(confidences[:end]).mean(dtype=np.float64))
        # BLAS threads would fight with implicit's own, and the last bits would depend on their number.
        with threadpool_limits(1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=settings.features.als_factors,
                regularization=REGULARIZATION_PLAYS * weight_a_play,
                iterations=FIRST_ITERATIONS if last is None else REFIT_ITERATIONS,
                num_threads=settings.threads,
                random_state=settings.seed,
            )
            if last is not None:
                model.user_factors = _grown(last[0], users_known)
                model.item_factors = _grown(last[1], videos_known)
            model.fit(pairs, show_progress=False)
        last = (model.user_factors, model.item_factors)
        yield Fit(cutoff, *users.by_id(model.user_factors), *videos.by_id(model.item_factors))


def _confidences(ratios: np.ndarray, settings: DataSettings) -> np.ndarray:
    """Each play's confidence, float32: the more was watched, the surer a like; negative for a dislike."""
    clipped = np.clip(ratios, 0, settings.watch_ratio_clip)
    signed = np.where(ratios > settings.like_threshold, 1 + _ALPHA * clipped, -(1 + _ALPHA))
    return signed.astype(np.float32)


def _grown(factors: np.ndarray, rows: int) -> np.ndarray:
    """These factors with zeros for the rows that are new."""
    grown: np.ndarray = np.pad(factors, ((0, rows - len(factors)), (0, 0)))
    return grown
