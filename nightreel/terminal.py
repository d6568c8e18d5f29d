"""What may be sent to a terminal: no character that drives it, and none that it cannot write."""

import io
import json
import re
import sys
from typing import Any

# Control characters but for tab and line feed, half surrogate pairs, and what turns the direction of text.
_DRIVING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """The text with each character that would drive a terminal written as its code, such as `\\x1b`."""
    return _DRIVING.sub(_code, text)


def as_json(value: Any, indent: int | None = None) -> str:
    """The value as JSON; what would drive a terminal, or it cannot write, is escaped as JSON has it."""
    readable = json.dumps(value, indent=indent, ensure_ascii=not _writes_all(), default=str)
    return _DRIVING.sub(lambda found: f"\\u{ord(found[0]):04x}", readable)


def replace_what_cannot_be_written() -> None:
    """Let standard output replace characters that its encoding lacks, where writing them would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _writes_all() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _code(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
