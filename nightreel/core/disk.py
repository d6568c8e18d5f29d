"""A full disk: recognised in any library's error, and reported in one line with path, free and needed space.

Python, Arrow, Polars, SQLite and PostgreSQL each have errors of their own for it; few of them name a path.
"""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nightreel.core.errors import NightreelError

_QUOTA_WORDS = ("disk quota exceeded", f"(os error {errno.EDQUOT})")
_FULL_WORDS = ("no space left on device", f"(os error {errno.ENOSPC})", "database or disk is full")
# The second: the memory that processes with the database open share does not fit ("disk I/O error").
_SQLITE_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_POSTGRESQL_FULL = "53100"
_ROOM_BYTES = 2**20  # a disk with more than this free was not the one that was full
_LEAST_BYTES = 2**12
# What Polars says of any error of a write, a full disk among them.
_WRITE_FAILED = "thrift: transport error"
_REMEDY = "Free some space there, or move the home to a larger disk; then run the same command again."


class DiskFullError(NightreelError):
    """Something could not be written for lack of space."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or its cause, means a full disk or an exhausted quota."""
    return any(_says_full(cause) or _is_quota(cause) for cause in _causes(error))


def was_disk_full(error: BaseException, path: Path) -> bool:
    """The same for an error of writing to a path; if the error is unclear, the disk's free space decides."""
    return is_disk_full(error) or (
        any(_WRITE_FAILED in str(cause).casefold() for cause in _causes(error)) and _is_short(path)
    )


@contextmanager
def full_disk_named(path: Path, *, needed_bytes: int = 0) -> Iterator[None]:
    """Raise DiskFullError, which names `path`, if an error of a full disk ends the block.

    Args:
        needed_bytes: about how much is written there, if known.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not was_disk_full(error, path):
            raise
        raise disk_full(full_path(error, path), error, needed_bytes=needed_bytes) from error


def require_room(path: Path, needed_bytes: int) -> None:
    """Raise DiskFullError if fewer bytes than this are free at the path."""
    if has_less_than(path, needed_bytes):
        raise disk_full(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), needed_bytes=needed_bytes)


def has_less_than(path: Path, free_bytes: int) -> bool:
    """Whether fewer bytes than this are known to be free at the path, which need not exist yet."""
    room = _room(path)
    return room is not None and room[0] < free_bytes


def disk_full(path: Path, error: BaseException, *, needed_bytes: int = 0) -> DiskFullError:
    """The error to raise for a full disk; call it once the half-written file is gone."""
    if any(_is_quota(cause) for cause in _causes(error)):
        needed = f", about {size(needed_bytes)} needed" if needed_bytes else ""
        return DiskFullError(f"{path}: this user's disk quota is used up{needed}.", _REMEDY)
    room = _room(path)
    if room is None:
        return DiskFullError(f"{path}: the disk is full.", _REMEDY)
    free_bytes, free_files = room
    if free_files == 0:
        return DiskFullError(f"{path}: the disk is full: it has no room for another file.", _REMEDY)
    least = max(free_bytes + 1, _LEAST_BYTES)
    needed = f"about {size(needed_bytes)}" if needed_bytes > least else f"at least {size(least)}"
    return DiskFullError(f"{path}: the disk is full: {size(free_bytes)} free, {needed} needed.", _REMEDY)


def full_path(error: BaseException, *likely: Path) -> Path:
    """The path whose disk was full: a likely one, one that the error names, or the temporary folder."""
    named = [
        Path(cause.filename)
        for cause in _causes(error)
        if isinstance(cause, OSError) and isinstance(cause.filename, str)
    ]
    paths = (*likely, *named, Path(tempfile.gettempdir()))
    return next((path for path in paths if _is_short(path)), paths[0])


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; 0 if there is none."""
    with suppress(OSError):
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    return 0


def size(size_bytes: int) -> str:
    """A size as text for people, rounded up so that this much is enough."""
    for unit, unit_bytes in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= unit_bytes:
            return f"{-(-size_bytes * 10 // unit_bytes) / 10:,.1f} {unit}"
    return f"{-(-size_bytes // 2**10):,} KiB"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what caused it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        wrapped = getattr(cause, "orig", None)
        if isinstance(wrapped, BaseException):
            yield wrapped
        cause = cause.__cause__ or cause.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _SQLITE_CODES:
        return True
    if getattr(error, "sqlstate", None) == _POSTGRESQL_FULL:
        return True
    return any(words in str(error).casefold() for words in _FULL_WORDS)


def _is_quota(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno == errno.EDQUOT:
        return True
    return any(words in str(error).casefold() for words in _QUOTA_WORDS)


def _is_short(path: Path) -> bool:
    room = _room(path)
    return room is not None and (room[0] <= _ROOM_BYTES or room[1] == 0)


def _room(path: Path) -> tuple[int, int | None] | None:
    """Bytes and files that still fit where the path is or will be; files: None where there is no limit."""
    for folder in (path, *path.parents):
        with suppress(OSError):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None
    return None
