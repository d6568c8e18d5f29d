"""Checksums of the files that steps write, kept beside each file as `<name>.sha256` and compared before use.

A disk that loses bits, or a program that overwrites part of a file, can leave size and time unchanged, so
those do not prove that a file is what a step wrote. `sha256sum --check *.sha256` compares the same checksums
by hand. `.files.sha256` in each folder names the files that have had a checksum, and the folders of such
files: if one of them is missing or has lost its checksum, it counts as damaged. Any other file without a
checksum was written by an older nightreel, and is used until its step writes it again.

A table that is a folder of days contains Parquet and nothing else, as Polars and pyarrow read every file of a
folder: the checksums of `interactions/date=D/` are in `.interactions.sha256/date=D/`. Older versions wrote
them into the folder, where they are still found.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from nightreel.core.errors import InputError
from nightreel.core.logs import get_logger

SUFFIX = ".sha256"
DAY_PREFIX = "date="
_NAMES = f".files{SUFFIX}"
_NAMED_MAX = 5
# By folder of the home's data: the command that makes a file in it again.
_REMEDIES: Mapping[str, str] = {
    "tables": "Run `nightreel ingest --force`, then `nightreel features`.",
    "ids": "Put the file of a backup there; or remove it, and run `nightreel ingest --force`.",
    "features": "Run `nightreel features --force`.",
    "models": "Run `nightreel train --force`.",
    "data": "Remove it, then run `cd feature_repo && feast apply`.",
}

_log = get_logger(__name__)


def checksum_file(path: Path) -> Path:
    """The path of a file's checksum: where it is written now, unless an older version wrote one."""
    new, old = _record_folder(path) / (path.name + SUFFIX), path.with_name(path.name + SUFFIX)
    return old if old.exists() and not new.exists() else new


@contextmanager
def replacing(temporary: Path, path: Path) -> Iterator[None]:
    """Keep checksums right while the block renames `temporary`, a file or a folder of files, to `path`.

    A file's checksum matches the old or the new content until the block has ended, so that a process killed
    at any instant leaves no file that looks damaged. A folder brings its files' checksums with it.
    """
    if temporary.is_dir():
        for file in [one for one in sorted(temporary.rglob("*")) if not one.name.endswith(SUFFIX)]:
            if file.is_file():
                _write(file, _carried_over(file, path / file.relative_to(temporary)))
            _remember(file)
        yield
        return
    new = digest_of(temporary)
    known = _recorded(path)
    before = known if known is not None else [digest_of(path)] if path.is_file() else []
    _write(path, [*before, new])
    _remember(path)
    yield
    _write(path, [new])


def files_below(path: Path) -> list[Path]:
    """A file alone; of a folder its files at any depth, and those that it has lost, without checksums."""
    if not path.is_dir():
        return [path]
    inside = [one for one in path.iterdir() if not one.name.startswith(".") and one.suffix != SUFFIX]
    return sorted(file for one in (*inside, *lost_files(path)) for file in files_below(one))


def recorded_digest(path: Path) -> str | None:
    """The checksum that is kept beside a file; None if there is none, or if the file is being replaced."""
    known = _recorded(path) or []
    return known[0] if len(known) == 1 else None


def is_as_written(path: Path) -> bool:
    """Whether a file, or every file of a folder, has the content that its step wrote, as far as known.

    True for a missing file of which there is no record that it was written.
    """
    if path.is_dir():
        return all(map(is_as_written, files_below(path)))
    known = _recorded(path)
    if known is None and has_lost_checksum(path):
        return False
    while known is not None:
        try:
            if digest_of(path) in known:
                return True
        except FileNotFoundError:
            break
        before, known = known, _recorded(path)
        if before == known:
            return False
        # Its step has replaced it meanwhile.
    return not is_lost(path)


def has_lost_checksum(path: Path) -> bool:
    """Whether an existing file once had a checksum and has none now."""
    return path.is_file() and not checksum_file(path).exists() and path.name in _names(path.parent)


def is_lost(path: Path) -> bool:
    """Whether a file that has, or once had, a checksum is missing; or a folder of such files."""
    # The file itself is looked for last: its step, which writes the checksum first, may be writing it now.
    recorded = checksum_file(path).exists() or path.name in _names(path.parent)
    return recorded and not path.exists()


def lost_files(folder: Path) -> list[Path]:
    """The missing files of a folder that have, or once had, a checksum."""
    names = {
        path.name.removesuffix(SUFFIX)
        for records in _record_folders(folder)
        for path in records.glob(f"[!.]*{SUFFIX}")
    }
    return [path for name in sorted(names | set(_names(folder))) if is_lost(path := folder / name)]


def remove_with_checksum(path: Path) -> None:
    """Remove a file that is no longer needed, with every record that it was written."""
    for records in _record_folders(path.parent):
        known = _names_in(records)
        if path.name in known:
            temporary = records / f".partial{_NAMES}"
            kept = "".join(f"{name}\n" for name in known if name != path.name)
            temporary.write_text(kept, encoding="utf-8")
            temporary.replace(records / _NAMES)
        (records / (path.name + SUFFIX)).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def is_usable(path: Path) -> bool:
    """Whether a file that can be made again is as it was written; logs it if not."""
    with suppress(OSError):  # a disk that cannot be read
        if is_as_written(path):
            return True
    _log.warning("not as it was written, so it is made again", file=str(path))
    return False


def require_as_written(paths: Iterable[Path]) -> None:
    """Raise InputError, with the command that makes it again, if a file is not what its step wrote.

    Of a folder, every file is compared.
    """
    damaged = []
    for path in dict.fromkeys(file for one in paths for file in files_below(one)):
        try:
            if not is_as_written(path):
                damaged.append(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}.", remedy_for([path])) from None
    if damaged:
        others = [path.name for path in damaged[1:_NAMED_MAX]]
        rest = f" (and {', '.join(others)}{', ...' if len(damaged) > _NAMED_MAX else ''})" if others else ""
        how, what = ("its checksum differs", "changed")
        if is_lost(damaged[0]):
            how, what = "it is missing", "lost or removed"
        elif has_lost_checksum(damaged[0]):
            how = "its checksum is missing"
        raise InputError(
            f"{damaged[0]}{rest}: not as it was written ({how}): the disk or another program has {what} it.",
            remedy_for(damaged),
        )


def remedy_for(damaged: Iterable[Path]) -> str:
    """The command that makes files again: the earliest of their steps, as the later ones follow from it."""
    folders = {next((part.name for part in path.parents if part.name in _REMEDIES), "") for path in damaged}
    return next((said for name, said in _REMEDIES.items() if name in folders), "Make it again.")


def _carried_over(file: Path, standing: Path) -> list[str]:
    """The checksums of a new file; those on record if it is the old file, so that damage is not confirmed."""
    known = _recorded(standing)
    if known is not None and _stamp(file) == _stamp(standing):
        return known
    return [digest_of(file)]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(path: Path) -> None:
    """Record that the file has a checksum, once that is written; an appended line is a whole one."""
    if path.name not in _names(path.parent):
        names = _record_folder(path) / _NAMES
        names.parent.mkdir(parents=True, exist_ok=True)
        with names.open("a", encoding="utf-8") as file:
            file.write(f"{path.name}\n")


def _record_folder(path: Path) -> Path:
    """The folder that the records of a file, or of a folder of files, are written to."""
    folder = path.parent
    if path.name.startswith(DAY_PREFIX):
        return _beside(folder)
    return _beside(folder.parent) / folder.name if folder.name.startswith(DAY_PREFIX) else folder


def _record_folders(folder: Path) -> tuple[Path, Path]:
    """The two folders that records of a folder's files may be in: that folder, and one outside the table."""
    if folder.name.startswith(DAY_PREFIX):
        return folder, _beside(folder.parent) / folder.name
    return folder, _beside(folder)


def _beside(table: Path) -> Path:
    return table.with_name(f".{table.name}{SUFFIX}")


def _names(folder: Path) -> list[str]:
    """The names of the files of a folder that have had a checksum."""
    return [name for records in _record_folders(folder) for name in _names_in(records)]


def _names_in(records: Path) -> list[str]:
    try:
        return (records / _NAMES).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _recorded(path: Path) -> list[str] | None:
    """The checksums that a file may have; None where none was written."""
    try:
        lines = checksum_file(path).read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [line.split(b" ", 1)[0].decode("ascii", errors="replace") for line in lines]


def _write(file: Path, digests: Iterable[str]) -> None:
    """Write a file's checksums as lines for `sha256sum --check`, run in its folder (a day: in its table)."""
    path = _record_folder(file) / (file.name + SUFFIX)
    name = f"{file.parent.name}/{file.name}" if file.parent.name.startswith(DAY_PREFIX) else file.name
    temporary = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text("".join(f"{digest}  {name}\n" for digest in digests), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
