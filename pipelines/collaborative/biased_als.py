"""A chain of ALS fits on a growing log: each sees the plays before its cutoff and starts from the one before.

It is fitted to log(1 + watch_ratio), with the ratio clipped at the setting. A play's value says how much it
was liked, so a pair without a play counts neither for nor against: `als_score` means the same inside a hole
of the log, like that of KuaiRec's small_matrix, and outside of it.

Measured against other models in docs/decisions/als.md.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np

from nightreel.core.settings.needs import FitNeeds
from pipelines.collaborative.fits import (
    FIRST_ITERATIONS,
    REFIT_ITERATIONS,
    REGULARIZATION_PLAYS,
    Fit,
)
from pipelines.collaborative.least_squares import Side, solve
from pipelines.collaborative.log import Keys, Log

# Of the factors' dimensions, one carries the user's bias and one the video's.
BIAS_DIMENSIONS = 2


def biased_fits(log: Log, settings: FitNeeds, done: Fit | None = None) -> Iterator[Fit]:
    """Fit ALS at each cutoff of the log on the plays strictly before it, starting from the fit before.

    The product of a user's and a video's row is the fitted log(1 + watch_ratio): the last two dimensions are
    (mean + user bias, 1) for users and (1, video bias) for videos.

    No fit depends on plays, users or videos that come after its cutoff.

    Args:
        done: the fit of one of the cutoffs to continue from; only later ones are fitted.
    """
    users, videos = log.users, log.videos
    means = (log.targets / log.plays).tolist()
    size = settings.features.als.factors - BIAS_DIMENSIONS
    strength, threads = REGULARIZATION_PLAYS, settings.threads
    video_side = first_videos(videos, size, settings.seed, done)
    for fit, iterations in iterations_of_fits(log.cutoffs, done):
        plays_a_user, plays_a_video, mean = log.plays_a_user[fit], log.plays_a_video[fit], means[fit]
        video_side = video_side.grown(len(plays_a_video))
        for _ in range(iterations):
            user_side = solve(
                log.by_user, plays_a_user, video_side, mean, regularization=strength, threads=threads
            )
            video_side = solve(
                log.by_video, plays_a_video, user_side, mean, regularization=strength, threads=threads
            )
        yield fit_of(log.cutoffs[fit], mean, (users, user_side), (videos, video_side))


def iterations_of_fits(cutoffs: Sequence[datetime], done: Fit | None) -> Iterator[tuple[int, int]]:
    """For each cutoff after the fit that is done: its number, and how many iterations its fit has."""
    iterations = FIRST_ITERATIONS if done is None else REFIT_ITERATIONS
    for fit, cutoff in enumerate(cutoffs):
        if done is None or cutoff > done.cutoff:
            yield fit, iterations
            iterations = REFIT_ITERATIONS


def first_videos(videos: Keys, size: int, seed: int, done: Fit | None) -> Side:
    """The side of the videos from which fitting starts: random, or that of the fit to continue from."""
    if done is None:
        return Side.random(videos.known[0], size, np.random.default_rng(seed))
    known = videos.in_rows(done.video_ids, done.video_factors)
    return Side(known[:, :size].copy(), known[:, -1].copy())


def fit_of(cutoff: datetime, mean: float, users: tuple[Keys, Side], videos: tuple[Keys, Side]) -> Fit:
    """The fit whose products are the fitted values, from the keys and the solution of both sides."""
    (of_users, user_side), (of_videos, video_side) = users, videos
    user_rows = [user_side.factors, mean + user_side.biases, np.ones(len(user_side.biases))]
    video_rows = [video_side.factors, np.ones(len(video_side.biases)), video_side.biases]
    return Fit(
        cutoff, *of_users.by_id(np.column_stack(user_rows)), *of_videos.by_id(np.column_stack(video_rows))
    )
