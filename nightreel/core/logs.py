"""Structured logs and progress bars: for people on a terminal, JSON lines elsewhere."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import structlog

from nightreel.core.progress import TERMINAL
from nightreel.core.terminal import escaped

if TYPE_CHECKING:
    from rich.progress import Progress


class Advance(Protocol):
    """Protocol: reports progress."""

    def __call__(self, amount: float = 1) -> None:
        """Report that `amount` more units of the work are done."""


def configure(*, json_lines: bool | None = None, verbose: bool = False) -> None:
    """Send logs to standard error: as text on a terminal, else as JSON lines. May be called again.

    Args:
        json_lines: override the form.
        verbose: show debug lines too.
    """
    as_json = (not sys.stderr.isatty()) if json_lines is None else json_lines
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_driving_characters,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=_to_standard_error,
        cache_logger_on_first_use=False,
    )
    # Feast and its libraries log much; what matters in it reaches the user as an error of ours.
    logging.getLogger().setLevel(logging.WARNING)


def _without_driving_characters(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """A caption or a file's name in a log line must not control the terminal."""
    return {name: escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _to_standard_error(*_: object) -> structlog.PrintLogger:
    """A logger to the present standard error: a program that embeds us may change it after `configure`."""
    return structlog.PrintLogger(sys.stderr)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger bound to the module's name."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Advance]:
    """Show a progress bar on standard error during the block; silent unless it is a terminal.

    Bars of nested blocks are shown below each other.

    Args:
        total: units of work, or None if unknown.

    Yields:
        The function that advances the bar.
    """
    if not sys.stderr.isatty():
        yield _no_advance
        return
    with TERMINAL.given_to_bars(), _BARS.shown() as bars:
        task = bars.add_task(description, total=total)

        def advance(amount: float = 1) -> None:
            bars.advance(task, amount)

        try:
            yield advance
        finally:
            bars.remove_task(task)


class _Bars:
    """The one display of all bars of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: Progress | None = None
        self._users = 0

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """The display, which begins with the first block and ends with the last."""
        with self._lock:
            if self._display is None:
                self._display = _new_display()
                self._display.start()
            self._users += 1
            display = self._display
        try:
            yield display
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    display.stop()
                    self._display = None


_BARS = _Bars()


def _new_display() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("to go:"), TimeRemainingColumn())
    return Progress(*columns, *times, console=Console(stderr=True), transient=True)


def _no_advance(amount: float = 1) -> None:  # noqa: ARG001
    return None
