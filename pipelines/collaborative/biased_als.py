"""A chain of ALS fits on a growing log: each sees the plays before its cutoff and starts from the one before.

What is fitted is log(1 + watch_ratio), ratio clipped at the setting. Plays tell liking by themselves, so a
pair that was never played counts neither for nor against: `als_score` means the same in a hole of the log (as
KuaiRec's small_matrix leaves one) and outside of it.

Measured against other models in docs/decisions/als.md.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings.needs import FitNeeds
from pipelines.collaborative.fits import (
    FIRST_ITERATIONS,
    REFIT_ITERATIONS,
    REGULARIZATION_PLAYS,
    Fit,
    Keys,
    ends_of_pasts,
)
from pipelines.collaborative.least_squares import Plays, Side, solve

# Of als_factors dimensions, one carries the user's bias and one the video's.
BIAS_DIMENSIONS = 2


def biased_fits(
    plays: pl.DataFrame, cutoffs: Sequence[datetime], settings: FitNeeds, done: Fit | None = None
) -> Iterator[Fit]:
    """Fit ALS at each cutoff on the plays strictly before it, starting from the fit before.

    The product of a user's and a video's row is the fitted log(1 + watch_ratio): the last two dimensions are
    (mean + user bias, 1) for users and (1, video bias) for videos.

    No fit depends on plays, users or videos that come after its cutoff.

    Args:
        plays: user_id, video_id, event_timestamp (ascending), watch_ratio; at least one before the first
            cutoff.
        cutoffs: UTC, ascending.
        done: the fit of one of these cutoffs to continue from; only later ones are fitted.
    """
    ends = ends_of_pasts(plays, cutoffs)
    users = Keys.of(plays[columns.USER_ID], ends)
    videos = Keys.of(plays[columns.VIDEO_ID], ends)
    ratios = plays[columns.WATCH_RATIO].to_numpy()
    targets = np.log1p(np.clip(ratios, 0, settings.data.watch_ratio_clip), dtype=np.float32)
    by_user = Plays.grouped(users.rows, videos.rows, targets)
    by_video = Plays.grouped(videos.rows, users.rows, targets)
    size = settings.features.als_factors - BIAS_DIMENSIONS
    iterations = FIRST_ITERATIONS if done is None else REFIT_ITERATIONS
    strength, threads = REGULARIZATION_PLAYS, settings.threads
    if done is None:
        video_side = Side.random(videos.known[0], size, np.random.default_rng(settings.seed))
    else:
        known = videos.in_rows(done.video_ids, done.video_factors)
        video_side = Side(known[:, :size].copy(), known[:, -1].copy())
    for cutoff, end, users_known, videos_known in zip(cutoffs, ends, users.known, videos.known, strict=True):
        if done is not None and cutoff <= done.cutoff:
            continue
        video_side = video_side.grown(videos_known)
        plays_a_user = np.bincount(users.rows[:end], minlength=users_known)
        plays_a_video = np.bincount(videos.rows[:end], minlength=videos_known)
        mean = float(targets[:end].mean(dtype=np.float64))
        for _ in range(iterations):
            user_side = solve(
                by_user, plays_a_user, video_side, mean, regularization=strength, threads=threads
            )
            video_side = solve(
                by_video, plays_a_video, user_side, mean, regularization=strength, threads=threads
            )
        iterations = REFIT_ITERATIONS
        ones = np.ones
        yield Fit(
            cutoff,
            *users.by_id(np.column_stack([user_side.factors, mean + user_side.biases, ones(users_known)])),
            *videos.by_id(np.column_stack([video_side.factors, ones(videos_known), video_side.biases])),
        )
