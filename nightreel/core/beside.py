"""Work beside the caller's own: most steps have parts that keep one thread busy and leave the others idle."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

_Made = TypeVar("_Made")


class Start(Protocol):
    """What starts work."""

    def __call__(self, work: Callable[..., _Made], /, *args: Any) -> "Future[_Made]":
        """Start a function with these arguments; what it returns is the future's result."""


@contextmanager
def work_beside(threads: int) -> Iterator[Start]:
    """Start work that runs beside the block, in a thread of its own; the block ends when it has ended.

    Args:
        threads: where it is 1, work is done before `Start` returns.
    """
    if threads == 1:
        yield _at_once
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def _at_once(work: Callable[..., _Made], /, *args: Any) -> "Future[_Made]":
    found: Future[_Made] = Future()
    found.set_result(work(*args))
    return found
