"""Works on blocks in a few threads; results come in order, and not far ahead of their consumer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Block = TypeVar("_Block")
_Made = TypeVar("_Made")


def made_in_order(work: Callable[[_Block], _Made], blocks: Iterable[_Block], threads: int) -> Iterator[_Made]:
    """The results of `work` for each block, in order; at most one more than there are threads waits.

    So no thread idles while blocks are written, and memory holds only a few results, however many blocks
    there are.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Made]] = deque()
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
