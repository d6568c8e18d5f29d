"""The threads of this process that search and gather: NumPy and Arrow release the interpreter lock."""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

COUNT = os.cpu_count() or 1
THREADS = ThreadPoolExecutor(COUNT, thread_name_prefix="feast_asof")


def shares(items: Sequence[T], count: int = COUNT) -> list[Sequence[T]]:
    """The items in at most `count` shares of consecutive ones, whose sizes differ by one at most."""
    count = min(count, len(items))
    bounds = [len(items) * share // count for share in range(count + 1)] if count else []
    return [items[start:end] for start, end in itertools.pairwise(bounds)]
