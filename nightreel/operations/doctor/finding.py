"""The finding of an inspection."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "wrong"]
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """The result of one inspection; `remedy` is empty if all is well."""

    inspection: str
    state: State
    found: str
    remedy: str = ""


def size_text(size_bytes: int) -> str:
    """A size in MiB, or in GiB from 1 GiB on."""
    return f"{size_bytes / GIB:,.1f} GiB" if size_bytes >= GIB else f"{size_bytes / 2**20:,.0f} MiB"
