"""Properties of lists that do not depend on likes: variety, popularity, novelty, length.

Common arguments: `first` is int64 [users, depth], each user's listed videos, best first, as positions in the
arrays that have one entry per video; -1 beyond a list's end. `cutoffs` are the ks, ascending.

Sources: coverage, Gini: Adomavicius and Kwon (IEEE TKDE 2012); Herlocker et al. (ACM TOIS 2004), section 4.3.
Novelty: Zhou et al., Solving the apparent diversity-accuracy dilemma (PNAS 2010), self-information.
Intra-list diversity: Ziegler et al., Improving recommendation lists (WWW 2005), with distance 1 between
different categories and 0 within one.
"""

from collections.abc import Sequence

import numpy as np


def means_of_first(first: np.ndarray, of_video: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """Mean, up to each cutoff, of a property of the listed videos: float64 [users, cutoffs].

    M@k = 1/n * sum over the first k of x_i, n counting the videos whose property is known (not NaN); NaN
    where none is. Gives novelty (x = -log2 of the share of users who had watched the video), popularity
    percentile (x from 0 to 1), length (x in seconds) and the share of fresh videos (x 0 or 1).
    """
    # The entry for -1, no video, is the last.
    values = np.append(of_video.astype(np.float64), np.nan)[first]
    known = ~np.isnan(values)
    counts = np.minimum(cutoffs, first.shape[1]).astype(np.float64)
    if not known.all():
        values[~known] = 0.0
        counts = _up_to(known, cutoffs)
    sums = _up_to(values, cutoffs)
    means: np.ndarray = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means


def category_diversity(first: np.ndarray, category: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """Share of pairs of videos with different categories, up to each cutoff.

    ILD@k = 1 - (pairs of the same category) / (n * (n - 1) / 2), n the listed videos up to k.

    Args:
        category: int [videos], category codes from 0.

    Returns:
        float64 [users, cutoffs]; NaN where fewer than two videos are listed.
    """
    users = len(first)
    categories = int(category.max(initial=-1)) + 1
    # Empty rows of a list get a category of their own, which is not counted.
    codes = np.append(category, categories)[first] + np.arange(users)[:, None] * (categories + 1)
    listed = np.zeros((users, categories + 1))
    same = np.zeros((users, len(cutoffs)))
    begin = 0
    for position, end in enumerate(cutoffs):
        counted = np.bincount(codes[:, begin:end].ravel(), minlength=listed.size)
        listed += counted.reshape(listed.shape)
        of_category = listed[:, :categories]
        same[:, position] = (of_category * (of_category - 1) / 2).sum(axis=1)
        begin = end
    n = _up_to(first >= 0, cutoffs)
    pairs = n * (n - 1) / 2
    shares: np.ndarray = np.divide(same, pairs, out=np.full(same.shape, np.nan), where=pairs > 0)
    return 1.0 - shares


def _up_to(values: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """The sum of each row's values up to each cutoff, these ascending: float64 [rows, cutoffs]."""
    sums = np.zeros((len(values), len(cutoffs)))
    total = np.zeros(len(values))
    begin = 0
    for position, end in enumerate(cutoffs):
        total += values[:, begin:end].sum(axis=1)
        sums[:, position] = total
        begin = end
    return sums


def exposures(first: np.ndarray, videos: int, k: int) -> np.ndarray:
    """In how many users' first k each video is: int64 [videos]."""
    listed = first[:, :k]
    return np.bincount(listed[listed >= 0], minlength=videos)


def coverage(exposure: np.ndarray) -> float:
    """Share of the catalogue that is in any list: |videos listed| / |videos|."""
    return float((exposure > 0).mean()) if len(exposure) else 0.0


def gini(exposure: np.ndarray) -> float:
    """Gini coefficient of exposure: 0 if all videos are listed equally often, near 1 if only one is listed.

    G = sum over i of (2i - n - 1) * x_i / (n * sum of x), x ascending, i from 1; 0 where nothing is listed.
    """
    ascending = np.sort(exposure).astype(np.float64)
    n, total = len(ascending), ascending.sum()
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * total))


def repeats(first: np.ndarray, k: int) -> np.ndarray:
    """How many of each user's first k videos also occur earlier in the list: int64 [users]."""
    listed = np.sort(first[:, :k], axis=1)
    again: np.ndarray = ((listed[:, 1:] == listed[:, :-1]) & (listed[:, 1:] >= 0)).sum(axis=1)
    return again
