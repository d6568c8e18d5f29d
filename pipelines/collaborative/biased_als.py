"""A chain of ALS fits on a growing log: each sees the plays before its cutoff and starts from the one before.

It is fitted to log(1 + watch_ratio), with the ratio clipped at the setting. A play's value says how much it
was liked, so a pair without a play counts neither for nor against: `als_score` means the same inside a hole
of the log, like that of KuaiRec's small_matrix, and outside of it.

Measured against other models in docs/decisions/als.md.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import numpy as np

from nightreel.core.settings.needs import FitNeeds
from pipelines.collaborative.fits import (
    FIRST_ITERATIONS,
    REFIT_ITERATIONS,
    REGULARIZATION_PLAYS,
    Fit,
)
from pipelines.collaborative.least_squares import Plays, Side, counted, solve
from pipelines.collaborative.log import Keys, Log

# Of the factors' dimensions, one carries the user's bias and one the video's.
BIAS_DIMENSIONS = 2
NO_ROWS = np.zeros(0, dtype=np.int32)


def biased_fits(log: Log, settings: FitNeeds, done: Fit | None = None) -> Iterator[Fit]:
    """Fit ALS at each cutoff of the log on the plays strictly before it, starting from the fit before.

    The product of a user's and a video's row is the fitted log(1 + watch_ratio): the last two dimensions are
    (mean + user bias, 1) for users and (1, video bias) for videos.

    No fit depends on plays, users or videos that come after its cutoff.

    Args:
        log: is released once it is grouped; a caller that keeps it as well pays for both.
        done: the fit of one of the cutoffs to continue from; only later ones are fitted.
    """
    cutoffs, ends, users, videos = log.cutoffs, log.ends, log.users, log.videos
    targets = targets_of(log.ratios, settings.data.targets.watch_ratio_clip)
    del log
    with ThreadPoolExecutor(settings.threads) as pool:
        grouping = [
            pool.submit(Plays.grouped, rows, others, targets)
            for rows, others in ((users.rows, videos.rows), (videos.rows, users.rows))
        ]
        by_user, by_video = (one.result() for one in grouping)
        del grouping
    counts = [
        tuple(counted(keys.rows[:end], keys.known[at]) for keys in (users, videos))
        for at, end in enumerate(ends)
    ]
    means = [float(targets[:end].mean(dtype=np.float64)) for end in ends]
    users, videos = replace(users, rows=NO_ROWS), replace(videos, rows=NO_ROWS)
    del targets
    size = settings.features.als.factors - BIAS_DIMENSIONS
    iterations = FIRST_ITERATIONS if done is None else REFIT_ITERATIONS
    strength, threads = REGULARIZATION_PLAYS, settings.threads
    video_side = first_videos(videos, size, settings.seed, done)
    for cutoff, (plays_a_user, plays_a_video), mean in zip(cutoffs, counts, means, strict=True):
        if done is not None and cutoff <= done.cutoff:
            continue
        video_side = video_side.grown(len(plays_a_video))
        for _ in range(iterations):
            user_side = solve(
                by_user, plays_a_user, video_side, mean, regularization=strength, threads=threads
            )
            video_side = solve(
                by_video, plays_a_video, user_side, mean, regularization=strength, threads=threads
            )
        iterations = REFIT_ITERATIONS
        yield fit_of(cutoff, mean, (users, user_side), (videos, video_side))


def targets_of(ratios: np.ndarray, clip: float) -> np.ndarray:
    """What is fitted: float32 [plays].

    Args:
        ratios: float32, each play's watch_ratio.
        clip: the largest that counts.
    """
    targets: np.ndarray = np.clip(ratios, 0, clip)
    np.log1p(targets, out=targets)
    return targets


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
