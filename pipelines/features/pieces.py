"""Splits work by keys: one piece on this machine, one task per piece on a cluster, with the same result."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from nightreel.core.cluster import run_all, workers
from nightreel.core.settings import ClusterSettings, DataSettings

# On a cluster, a piece with fewer rows than this costs more than it saves.
PIECE_ROWS_MIN = 500


def number_of_pieces(rows: int, settings: ClusterSettings) -> int:
    """The best number of pieces for this many rows."""
    return min(workers(settings), max(1, rows // PIECE_ROWS_MIN))


def by_key(
    function: Callable[..., pl.DataFrame],
    key: str,
    frames: Sequence[pl.DataFrame],
    data: DataSettings,
    cluster: ClusterSettings,
    *same: Any,
) -> pl.DataFrame:
    """`function(*frames, data, *same)`, computed for some of the keys at a time.

    The function is defined in a module, treats each key's rows on their own, and returns rows in order of the
    key. All frames have the key; `same` goes to every piece as it is.
    """
    pieces = number_of_pieces(max(frame.height for frame in frames), cluster)
    if pieces == 1:
        return function(*frames, data, *same)
    ids = pl.concat([frame[key].unique() for frame in frames]).unique().sort()
    positions = np.linspace(0, len(ids), pieces + 1).astype(int)[1:-1].tolist()
    borders = [None, *(ids[position] for position in positions), None]
    done = run_all(
        cluster,
        function,
        [(*(_between(frame, key, *ends) for frame in frames), data, *same) for ends in pairwise(borders)],
    )
    return pl.concat(done, rechunk=True)


def _between(frame: pl.DataFrame, key: str, low: int | None, high: int | None) -> pl.DataFrame:
    """The rows with low <= key < high; None sets no limit."""
    inside = [pl.col(key) >= low] if low is not None else []
    inside += [pl.col(key) < high] if high is not None else []
    return frame.filter(*inside)
