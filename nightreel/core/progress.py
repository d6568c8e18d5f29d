"""Progress of work that takes longer than two seconds: one line on a terminal that is written over.

How long it will take is what the same work took the last time. While a bar of `nightreel.core.logs` is on the
terminal, the line is not: there is one display at a time.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

AFTER_S, EVERY_S = 2.0, 1.0
_CLEAR = "\r\x1b[2K"


class StatusLine:
    """The last line of a terminal; output of others is written above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line's text; it stays until it is replaced again."""
        with self._lock:
            clear = _CLEAR if self._text or text else ""
            self._text = text
            self._stream.write(clear + text)
            self._stream.flush()


class _Terminal:
    """Who may write to the terminal now: a line, or bars."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bars = 0
        self._line: StatusLine | None = None

    def show(self, line: StatusLine, text: str) -> None:
        """Show a line's text, unless there are bars."""
        with self._lock:
            if not self._bars:
                self._line = line
                line.show(text)

    @contextmanager
    def given_to_bars(self) -> Iterator[None]:
        """Take a line away until the block ends; blocks may be nested."""
        with self._lock:
            self._bars += 1
            if self._line is not None:
                self._line.show("")
                self._line = None
        try:
            yield
        finally:
            with self._lock:
                self._bars -= 1


TERMINAL = _Terminal()


@contextmanager
def progress(
    name: str,
    expected_s: float | None,
    *,
    stream: TextIO | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Show how far the work within the block is, if standard error is a terminal.

    Args:
        expected_s: seconds that it took last time; None if unknown.
        now: seconds of a monotonic clock.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None or not stream.isatty():
        yield
        return
    line, started, done = StatusLine(stream), now(), threading.Event()

    def tell() -> None:
        wait_s = AFTER_S
        while not done.wait(wait_s):
            TERMINAL.show(line, said(name, now() - started, expected_s))
            wait_s = EVERY_S

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        TERMINAL.show(line, "")


def said(name: str, passed_s: float, expected_s: float | None) -> str:
    """The line: how much is done, the time so far, and an estimate of the time left."""
    so_far = f"{name}: {_span(passed_s)}"
    if expected_s is None:
        return f"{so_far}; how long it takes is not known before it was done once"
    left = expected_s - passed_s
    if left <= 0:
        return f"{so_far}, longer than the last time ({_span(expected_s)})"
    return f"{so_far} of about {_span(expected_s)}, {_span(left)} to go"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
