"""Runs work in a thread beside the caller's, as most steps have parts that keep only one thread busy."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_Made = TypeVar("_Made")


class Start(Protocol):
    """A function that starts work."""

    def __call__(self, work: Callable[..., _Made], /, *args: Any) -> "Future[_Made]":
        """Start a function with these arguments; its result, or its error, is that of the future."""


@contextmanager
def work_beside(threads: int) -> Iterator[Start]:
    """Run work beside the block, in a thread of its own; leaving the block waits for that work.

    An error in the work is raised where its result is asked for, so ask for every result.

    Args:
        threads: with 1, work is done in the caller's thread before `Start` returns.

    Yields:
        The function that starts work; what it has started runs one after the other.
    """
    if threads == 1:
        yield _at_once
        return
    # The work may hold BLAS to one thread for a while, and that in the whole process. If the block's own
    # products had one thread then and several later, their last bits would depend on the clock.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(1) as pool:
        yield pool.submit


def _at_once(work: Callable[..., _Made], /, *args: Any) -> "Future[_Made]":
    found: Future[_Made] = Future()
    found.set_result(work(*args))
    return found
