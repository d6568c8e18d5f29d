"""Safe output to a terminal: without control characters, and without those that its encoding lacks.

A command whose results cannot be written fails; remarks that cannot be written are lost.
"""

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nightreel.core.errors import NightreelError

# Control characters except tab and line feed, half surrogate pairs, and marks that turn the direction of
# text.
_DRIVING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    r"""The text with each character that could control a terminal replaced by its code, such as `\x1b`."""
    return _DRIVING.sub(_code, text)


def as_json(value: Any, indent: int | None = None) -> str:
    """The value as JSON; characters that could control a terminal, or that it cannot encode, are escaped."""
    readable = json.dumps(value, indent=indent, ensure_ascii=not _writes_all(), default=str)
    return _DRIVING.sub(lambda found: f"\\u{ord(found[0]):04x}", readable)


_unguarded: list[Any] = []


class StandardOutputError(NightreelError):
    """A command's output could not be written; what the command did is not undone."""


def guard_streams() -> None:
    """Handle errors of standard output and standard error for the rest of this process.

    Characters that the encoding lacks are replaced. If standard output cannot be written, StandardOutputError
    is raised; if standard error cannot, work continues.
    """
    sys.stdout = _guarded(sys.stdout, _Output)
    sys.stderr = _guarded(sys.stderr, _Remarks)


def drop_output() -> None:
    """Discard whatever is still to be written to standard output, which cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.TextIOWrapper):
    """Standard output: the results that were asked for."""

    def write(self, text: str, /) -> int:
        with _output_named():
            return super().write(text)

    def flush(self) -> None:
        with _output_named():
            super().flush()


class _Remarks(io.TextIOWrapper):
    """Standard error: errors, logs and progress, which are lost if they cannot be written."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        # Python flushes it a last time when the process ends.
        with suppress(OSError):
            super().flush()


@contextmanager
def _output_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone away, as `| head` does, which is not a failure
    except OSError as error:
        raise StandardOutputError(
            f"Standard output could not be written: {error.strerror}.",
            "Send it where there is room. What the command did is not undone, but its output is incomplete.",
        ) from error


def _guarded(stream: Any, kind: type[io.TextIOWrapper]) -> Any:
    """The stream with its errors handled; a stream without a file descriptor stays as it is."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    # Others may still use the original stream; without a reference to it, both would be closed.
    _unguarded.append(stream)
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors="replace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _writes_all() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _code(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
