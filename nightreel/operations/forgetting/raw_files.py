"""Removes a user from raw files and deliveries: the one exception to the rule that these are never changed.

Every other row stays byte for byte as it was, and the file keeps its time, by which deliveries are ordered.
"""

import csv
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings, Paths
from nightreel.operations.forgetting.any_format import take_out
from nightreel.operations.forgetting.identity import Person
from pipelines.ingest.deliveries import ARCHIVE, QUARANTINE, delivered_name, own_name
from pipelines.ingest.formats import files_of
from pipelines.ingest.lake_tables import lake_kind
from pipelines.ingest.mapping import mapped, raw_paths
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import INCOMING, RAW_FILES, SOCIAL_NETWORK
from pipelines.ingest.unread import printable

CSV = ".csv"
FRIENDS = "friend_list"
_REASON = ".txt"
_HIDDEN = "***"
_HEADER_BYTES_MAX = 65_536


@dataclass
class Removed:
    """Numbers of removed rows by folder, and what could not be searched."""

    counts: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)


def remove_from_raw_files(paths: Paths, settings: DataSettings, person: Person, removed: Removed) -> None:
    """Remove the user's rows from every file that ingest reads, including all kinds of deliveries.

    Other files, and deliveries that are not complete, are named in `removed.left`. A quarantined file that
    has no user column and contains the id is removed whole.
    """
    raw_dir = settings.raw_dir
    others = {path: file for path, file in _read_files(settings) if not _is_plain(path, file, settings)}
    for path, file in others.items():
        is_delivery = path.is_relative_to(raw_dir / INCOMING)
        where = _where(path.relative_to(raw_dir)) if is_delivery else "raw rows"
        removed.counts[where] += take_out(path, file, paths, settings, person) if _has_users(file) else 0
    for path in sorted(raw_dir.rglob("*")) if raw_dir.is_dir() else []:
        if not path.is_file() or path in others:
            continue
        where = _where(path.relative_to(raw_dir))
        if path.suffix.casefold() == CSV and path.name.startswith("."):
            removed.left.append(f"{printable(path.name)}: not yet whole; forget again when it is delivered")
        elif path.suffix.casefold() == CSV:
            _from_csv(path, person, removed, where)
        elif where == "quarantine" and path.suffix == _REASON:
            _from_reason(path, person, removed)
        elif not path.name.startswith("."):
            removed.left.append(f"{printable(path.name)}: not a CSV file, not looked through")


def require_searchable(paths: Paths, settings: DataSettings, person: Person) -> None:
    """Raise InputError if single rows cannot be removed from a file that ingest reads.

    Checked before anything is removed, because what stays in such a file would bring the user back.
    """
    for path, file in _read_files(settings):
        if _is_plain(path, file, settings):
            continue
        if path.is_dir():
            raise InputError(
                f"{path}: a table that keeps its own versions; nightreel removes nothing from it.",
                "Delete the user's rows with its own tools, old versions too; nothing was removed.",
            )
        if file.name == SOCIAL_NETWORK.name:
            raise InputError(
                f"{path}: lists of friends that are not a CSV file in UTF-8 with commas, so the user would "
                "stay in them.",
                "Replace it by such a file, then forget again; nothing was removed.",
            )
        if _has_users(file):
            take_out(path, file, paths, settings, person, dry=True)


def _read_files(settings: DataSettings) -> Iterator[tuple[Path, RawFile]]:
    """Every file that ingest reads, and those that wait in `incoming`, each with what it is."""
    with suppress(InputError):  # where there are no raw files at all
        for file, path in raw_paths(settings).items():
            if path.is_dir() and lake_kind(path) is not None:
                yield path, file
                continue
            yield from ((one, file) for one in files_of(path) if one.is_file())
    for path in sorted(settings.raw_dir.rglob("*")) if settings.raw_dir.is_dir() else []:
        parts = path.relative_to(settings.raw_dir).parts
        if not path.is_file() or any(part.startswith(".") or part == QUARANTINE for part in parts):
            continue
        # A file named like a raw file may become one.
        kinds = (_kind(own_name(delivered_name(part), settings)) for part in parts)
        kind = next((kind for kind in kinds if kind is not None), None)
        if kind is not None:
            yield path, kind


def _kind(name: str) -> RawFile | None:
    return next((one for one in RAW_FILES if name.casefold().startswith(Path(one.name).stem)), None)


def _has_users(file: RawFile) -> bool:
    return any(column.name == columns.USER_ID for column in file.columns)


def _is_plain(path: Path, file: RawFile, settings: DataSettings) -> bool:
    """Whether it is a CSV in UTF-8 with commas and KuaiRec's names."""
    if path.suffix.casefold() != CSV or mapped(file, settings) is not file:
        return False
    with path.open("rb") as opened:
        header = opened.readline(_HEADER_BYTES_MAX)
    names = {name.strip() for name in _fields(header)}
    return b"\0" not in header and bool(names & {columns.USER_ID, columns.VIDEO_ID})


def _where(path: Path) -> str:
    parts = path.parts
    if INCOMING not in parts[:-1]:
        return "raw rows"
    return "quarantine" if QUARANTINE in parts else "archived rows" if ARCHIVE in parts else "delivered rows"


def _from_csv(path: Path, person: Person, removed: Removed, where: str) -> None:
    # The file may be a link; its target has the rows.
    target = path.resolve()
    with target.open("rb") as file:
        header_bytes = next(_records(file), b"")
        names = [name.strip() for name in _fields(header_bytes)]
        users = [n for n, name in enumerate(names) if name == columns.USER_ID]
        friends = [n for n, name in enumerate(names) if name == FRIENDS]
        if users or friends:
            file.seek(0)
            if not any(_changed(record, users, friends, person) is not record for record in _body(file)):
                return
        elif where != "quarantine":
            return
        elif b"\0" in header_bytes:
            removed.left.append(f"{printable(path.name)}: not text, not looked through")
            return
        elif not _holds(target, person):
            return
    if not users and not friends:
        path.unlink()
        removed.counts["quarantined files"] += 1
        return
    status = target.stat()
    rows = 0
    with atomic_write(target) as temporary:
        with target.open("rb") as file, temporary.open("wb") as out:
            out.write(next(_records(file)))
            for record in _records(file):
                kept = _changed(record, users, friends, person)
                out.write(kept)
                rows += bool(kept)
                removed.counts[where if not kept else "lists of friends"] += kept is not record
            out.flush()
            os.fsync(out.fileno())
        shutil.copymode(target, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    if not rows and where != "raw rows":
        # A delivery of this user alone; an empty one would be refused.
        path.unlink()


def _body(file: io.BufferedReader) -> Iterator[bytes]:
    records = _records(file)
    next(records, None)
    return records


def _records(file: io.BufferedReader) -> Iterator[bytes]:
    """The file's records with their line ends; a quoted field may have line breaks."""
    record = b""
    for line in file:
        record = record + line if record else line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _changed(record: bytes, users: list[int], friends: list[int], person: Person) -> bytes:
    """The same object if the record says nothing of the user; empty if it is the user's."""
    if not person.may_be_in(record):
        return record
    fields = _fields(record)
    if any(person.is_id(fields[n]) for n in users if n < len(fields)):
        return b""
    if users and len(fields) <= max(users) and person.token_bytes.search(record):
        return b""  # cut off: its user is unknown
    named = [n for n in friends if n < len(fields) and person.is_in(fields[n])]
    if not named:
        return record
    for n in named:
        ids = [one for one in re.split(r"\s*,\s*", fields[n].strip("[] ")) if one and not person.is_id(one)]
        fields[n] = f"[{', '.join(ids)}]"
    end = "\r\n" if record.endswith(b"\r\n") else "\n" if record.endswith(b"\n") else ""
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerow(fields)
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def _fields(record: bytes) -> list[str]:
    text = record.decode("utf-8-sig", errors="surrogateescape").rstrip("\r\n")
    try:
        return next(csv.reader([text], strict=False), [])
    except csv.Error:
        return text.split(",")


def _holds(path: Path, person: Person) -> bool:
    with path.open("rb") as file:
        return any(person.token_bytes.search(line) for line in file)


def _from_reason(path: Path, person: Person, removed: Removed) -> None:
    """A reason may quote a value of the file; the user's number is removed from it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if person.is_in(text):
        with atomic_write(path) as temporary:
            temporary.write_text(person.token.sub(_HIDDEN, text), encoding="utf-8")
        removed.counts["reasons"] += 1
