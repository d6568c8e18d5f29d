"""Blocks of work done by a few threads, handed over in order and not far ahead of their consumer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Block = TypeVar("_Block")
_Made = TypeVar("_Made")


def made_in_order(work: Callable[[_Block], _Made], blocks: Iterable[_Block], threads: int) -> Iterator[_Made]:
    """What `work` makes of each block, in order; at most one block more than there are threads is waiting.

    So no thread waits while blocks are written, and memory is that of a few of them, however many there are.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Made]] = deque()
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
