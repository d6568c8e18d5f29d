"""Finds by raw scores the videos that may be among a user's likeliest; only these need probabilities."""

import numpy as np

from nightreel.core.compiled import compiled

_BINS = 1_024
# Raw scores up to MOST that are this far apart have different probabilities, in the order of the scores.
MARGIN = 1e-6
MOST = 20.0


@compiled
def is_open(closed: np.ndarray, video: int) -> bool:
    """Whether a video may be listed: the first of eight is the highest bit, as in np.packbits."""
    return not (closed[video >> 3] >> (7 - (video & 7))) & 1


@compiled
def maybe_best(raw: np.ndarray, closed: np.ndarray, keep: int) -> np.ndarray:
    """Indices of videos among which the `keep` of highest probability are, with all that tie: ascending.

    There are few more than `keep`: those at or above the histogram bin in which the last one lies. If the
    highest probabilities are too near to 1 to differ, all open videos are returned.

    Args:
        raw: float64 [videos], finite; `expit` makes probabilities of them.
        closed: uint8 [videos / 8], a bit for each video that may not be listed, as np.packbits orders them.
    """
    lowest, highest, count = np.inf, -np.inf, 0
    for video in range(len(raw)):
        if is_open(closed, video):
            lowest, highest = min(lowest, raw[video]), max(highest, raw[video])
            count += 1
    border = -np.inf
    if count > keep and lowest < highest:
        scale = (_BINS - 1) / (highest - lowest)
        bins = np.zeros(_BINS, dtype=np.int64)
        for video in range(len(raw)):
            if is_open(closed, video):
                bins[int((raw[video] - lowest) * scale)] += 1
        last, above = _BINS - 1, bins[_BINS - 1]
        while above < keep:
            last -= 1
            above += bins[last]
        if lowest + (last + 1) / scale < MOST:
            border = lowest + last / scale - MARGIN
    found, size = np.empty(count, dtype=np.int64), 0
    for video in range(len(raw)):
        if raw[video] >= border and is_open(closed, video):
            found[size] = video
            size += 1
    return found[:size]
