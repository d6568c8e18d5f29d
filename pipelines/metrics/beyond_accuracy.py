"""What lists are like, whether or not they are liked: how varied, how popular, how new, how long.

Every function reads `first`: int64 [users, depth], the places of each user's listed videos in `of_video`
arrays (or category codes), best first, -1 beyond a list's end. Values are cumulated over ranks once, so that
every k is one column.

Sources: coverage, Gini: Adomavicius and Kwon (IEEE TKDE 2012); Herlocker et al. (ACM TOIS 2004), section 4.3.
Novelty: Zhou et al., Solving the apparent diversity-accuracy dilemma (PNAS 2010), self-information.
Intra-list diversity: Ziegler et al., Improving recommendation lists (WWW 2005), with distance 1 between
different categories and 0 within one.
"""

import numpy as np


def means_of_first(first: np.ndarray, of_video: np.ndarray) -> np.ndarray:
    """Mean, up to each place, of a property of the listed videos: float64 [users, depth].

    M@k = 1/n * sum over the first k of x_i, n counting the videos whose property is known (not NaN); NaN
    where none is. Gives novelty (x = -log2 of the share of users who had watched the video), popularity
    percentile (x from 0 to 1), length (x in seconds) and the share of fresh videos (x 0 or 1).
    """
    values = np.where(first >= 0, of_video[first], np.nan)
    known = ~np.isnan(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=1)
    counts = np.cumsum(known, axis=1)
    means: np.ndarray = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means


def category_diversity(first: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Share, up to each place, of pairs of listed videos with different categories: float64 [users, depth].

    ILD@k = 1 - (pairs of the same category) / (n * (n - 1) / 2), n the listed videos up to k. category: an
    integer from 0 a video. NaN where fewer than two videos are listed.
    """
    users, depth = first.shape
    codes = np.where(first >= 0, category[first], -1).astype(np.int64)
    # Sort each user's places by category, then place: the place within its run counts the earlier same ones.
    order = np.argsort(codes, axis=1, kind="stable")
    ordered = np.take_along_axis(codes, order, axis=1)
    is_new = np.ones((users, depth), dtype=bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(depth)
    begins = np.maximum.accumulate(np.where(is_new, places, 0), axis=1)
    earlier = np.empty((users, depth), dtype=np.int64)
    np.put_along_axis(earlier, order, places - begins, axis=1)
    listed = codes >= 0
    same = np.cumsum(np.where(listed, earlier, 0), axis=1)
    n = np.cumsum(listed, axis=1).astype(np.float64)
    pairs = n * (n - 1) / 2
    shares: np.ndarray = np.divide(same, pairs, out=np.full(same.shape, np.nan), where=pairs > 0)
    return 1.0 - shares


def exposures(first: np.ndarray, videos: int, k: int) -> np.ndarray:
    """In how many users' first k each video stands: int64 [videos]."""
    listed = first[:, :k]
    return np.bincount(listed[listed >= 0], minlength=videos)


def coverage(exposure: np.ndarray) -> float:
    """Share of the catalogue that stands in any list: |videos listed| / |videos|."""
    return float((exposure > 0).mean()) if len(exposure) else 0.0


def gini(exposure: np.ndarray) -> float:
    """Gini coefficient of exposure: 0 where every video is listed as often, towards 1 where one has all.

    G = sum over i of (2i - n - 1) * x_i / (n * sum of x), x ascending, i from 1; 0 where nothing is listed.
    """
    ascending = np.sort(exposure).astype(np.float64)
    n, total = len(ascending), ascending.sum()
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * total))


def repeats(first: np.ndarray, k: int) -> np.ndarray:
    """How many of each user's first k videos stood in the list before: int64 [users]."""
    listed = np.sort(first[:, :k], axis=1)
    again: np.ndarray = ((listed[:, 1:] == listed[:, :-1]) & (listed[:, 1:] >= 0)).sum(axis=1)
    return again
