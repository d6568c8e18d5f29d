"""Files written beside their final path and renamed into place, and the records that let a step be skipped.

A step's record holds a fingerprint of its inputs and settings, and the files that it wrote. A step is skipped
if
the fingerprint is the same and the files are unchanged: of the same size and modification time and, where
they have checksums, of the same content.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightreel import __version__
from nightreel.core.checksums import files_below, is_usable, replacing
from nightreel.core.disk import DiskFullError, disk_full, full_path, size_of, was_disk_full


@contextmanager
def atomic_write(path: Path, *, checksum: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block ends without an error.

    The block may write a file or a folder. After a failure nothing new is at `path`, and the temporary is
    gone. A crash leaves at most a `.partial-*` neighbour, which nothing reads and the next call removes.

    Args:
        checksum: whether to keep checksums of the written files.

    Raises:
        DiskFullError: the disk is full; the message names `path`.
    """
    temporary = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        with replacing(temporary, path) if checksum else nullcontext():
            if path.is_dir():
                _remove(path)
            temporary.replace(path)
    except Exception as error:
        if isinstance(error, DiskFullError) or not was_disk_full(error, path):
            raise
        full, needed_bytes = full_path(error, path), max(size_of(path), size_of(temporary))
        _remove(temporary)
        raise disk_full(full, error, needed_bytes=needed_bytes) from error
    finally:
        _remove(temporary)


def carry_over(path: Path, new: Path) -> None:
    """Give an unchanged file a second path, without reading it if the file system has hard links."""
    try:
        os.link(path, new)
    except OSError:  # a file system without hard links
        shutil.copy2(path, new)


def fingerprint_of_files(paths: Iterable[Path]) -> dict[str, Any]:
    """Size and modification time (ns) of each file, and of each file in a folder, by name.

    None for a missing file.
    """
    found: dict[str, Any] = {}
    for path in sorted(file for one in paths for file in files_below(one)):
        status = path.stat() if path.exists() else None
        found[str(path)] = None if status is None else [status.st_size, status.st_mtime_ns]
    return found


def fingerprint(**parts: Any) -> str:
    """A short digest of JSON-able parts and of nightreel's version."""
    text = json.dumps({"version": __version__, **parts}, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StepRecord:
    """The record of one step in one home: `state/<step>.json`."""

    path: Path

    def is_done(self, current: str) -> bool:
        """Whether the step ended before with this fingerprint, and its files are unchanged."""
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            return bool(
                record["fingerprint"] == current
                and record["outputs"] == fingerprint_of_files(Path(output) for output in record["outputs"])
                and all(is_usable(Path(output)) for output in record["outputs"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def summary(self) -> Mapping[str, Any]:
        """The facts that the step reported when it ended; empty without a record."""
        try:
            summary: Mapping[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))["summary"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return summary

    def finish(self, current: str, outputs: Iterable[Path], summary: Mapping[str, Any]) -> None:
        """Record that the step ended; call once every output is at its final path."""
        record = {"fingerprint": current, "outputs": fingerprint_of_files(outputs), "summary": summary}
        with atomic_write(self.path) as temporary:
            temporary.write_text(
                json.dumps(record, indent=1, default=str, ensure_ascii=False), encoding="utf-8"
            )

    def forget(self) -> None:
        """Remove the record, so that the step runs again; call before outputs are replaced."""
        self.path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
