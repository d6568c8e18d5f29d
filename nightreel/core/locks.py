"""Operating-system locks on files, which say who holds them; a process that ends releases its locks.

A step that changes what other steps read holds the home's lock while it works, so that two steps never
replace one file at once.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightreel.core.disk import disk_full, is_disk_full
from nightreel.core.errors import BusyError, NightreelError

_REMEDY = "Wait until it has ended, or end it; then run this again."
# How long a step waits for another one that changes the home: short steps end within it, and for a long one
# an exit code serves a caller better.
HOME_WAIT_S = 30.0
_POLL_S = 0.1
# State folders of the homes on which this process is at work.
_held: set[Path] = set()


def identity() -> str:
    """Host and process id of this process, for others to see."""
    return f"nightreel on {socket.gethostname()[:32]}, process {os.getpid()}"


@contextmanager
def home_lock(state: Path, step: str) -> Iterator[None]:
    """Be the only step that changes the home with this state folder; parts of the same step may nest.

    Raises:
        BusyError: the home is not free after HOME_WAIT_S; the message says who holds it.
    """
    if state in _held:
        yield
        return
    with locked_file(state / "home.lock", f"is at work on this home ({step})", wait_s=HOME_WAIT_S):
        _held.add(state)
        try:
            yield
        finally:
            _held.discard(state)


@contextmanager
def locked_file(path: Path, does: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock on a file and write into it who holds it; the file stays when the lock is released.

    Args:
        does: what a holder is doing, for the message to others.

    Raises:
        BusyError: the lock is not free within `wait_s`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path, error) from None
        raise NightreelError(f"{path}: {error.strerror}.", "Make its folder writable.") from None
    try:
        _wait(descriptor, path, does, wait_s=wait_s)
        _sign(descriptor, does)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, path: Path, does: str, *, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _holder_in(path, does)
        else:
            return
        if time.monotonic() >= deadline:
            raise BusyError(f"{who}.", _REMEDY)
        time.sleep(_POLL_S)


def _sign(descriptor: int, does: str) -> None:
    """Say in the file who holds it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    who = json.dumps({"holder": identity(), "pid": os.getpid(), "since": since, "does": does})
    # The lock matters, not the name: on a full disk it goes without a name.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{who}\n".encode())


def _holder_in(path: Path, does: str) -> str:
    """The process that holds the file: of those who signed it, the last that may still be alive."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for line in reversed(path.read_text(encoding="utf-8").splitlines()):
            signed: dict[str, Any] = json.loads(line)
            if _may_live(signed):
                return f"{signed['holder']}, since {signed['since']}, {signed['does']}"
    # It has the lock but has not signed yet.
    return f"Another process {does}"


def _may_live(signed: dict[str, Any]) -> bool:
    """Whether the process that signed is alive, or on a machine that cannot be asked."""
    if f" {socket.gethostname()[:32]}," not in str(signed.get("holder")):
        return "holder" in signed
    try:
        os.kill(int(signed["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, KeyError, TypeError, ValueError):
        return True
    return True
