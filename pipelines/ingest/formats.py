"""The formats of raw files: from the settings, the first bytes and the names."""

import codecs
import hashlib
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from nightreel.core.errors import InputError
from nightreel.core.log_layout import BETWEEN_PATHS, Files
from nightreel.core.settings import DataSettings
from pipelines.ingest.lake_tables import lake_kind

DELIMITERS = (",", "\t", ";", "|")
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
ENDINGS = (*(text + packed for text in _TEXT_ENDINGS for packed in ("", ".gz", ".zst")), ".parquet")
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
PARQUET = b"PAR1"
# Formats that are not read, by their first bytes.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (or an Excel workbook)",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
}
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
HEAD_BYTES = 4096
HEADER_BYTES_MAX = 65_536
_PATTERN = re.compile(r"[*?\[]")
BLOCK_BYTES = 8 * 2**20
COPY_AGAIN = "Download or copy the file again."


@dataclass(frozen=True)
class Form:
    """How the files are written according to the settings; None and `auto` are recognised from the data."""

    delimiter: str | None = None
    encoding: str | None = None
    time_format: str = "auto"
    quote: str | None = None
    header: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: DataSettings, given: Files | None = None) -> "Form":
        """The form that the settings give.

        Args:
            given: the settings of one kind of file, which override the general ones.
        """
        form = settings.format
        if given is None:
            return cls(form.delimiter, form.encoding, form.time, form.quote)
        return cls(
            form.delimiter if given.delimiter is None else given.delimiter,
            form.encoding if given.encoding is None else given.encoding,
            form.time,
            form.quote if given.quote is None else given.quote,
            given.header or (),
        )


@dataclass(frozen=True)
class Text:
    """A raw file as text.

    Attributes:
        path: the file to read.
        is_copy: whether that is a scratch copy, not the user's file.
        names: the columns, where the text has no header line.
        by_record: whether rows are counted as records, whatever line breaks their values have.
        delimiter: None where it is not known yet.
        bad: records that could not be written (number, reason, raw).
        format: for messages.
        quote: the quote character around fields, or empty.
        parts: for several files read as one: the line on which each begins, how many of its lines are left
            out, and its path.
    """

    path: Path
    is_copy: bool = False
    names: tuple[str, ...] = ()
    by_record: bool = False
    delimiter: str | None = None
    bad: tuple[tuple[int, str, str], ...] = ()
    format: str = "CSV"
    quote: str = '"'
    parts: tuple[tuple[int, int, Path], ...] = ()

    def where(self, path: Path, line: int) -> tuple[Path, int]:
        """The file that a line of the text comes from, and the line number there.

        Args:
            path: of the raw file as a whole.
            line: in the text, from 1.
        """
        at = bisect_right(self.parts, line, key=lambda part: part[0]) - 1
        if at < 0:
            return path, line
        begins, left_out, file = self.parts[at]
        return file, line - begins + 1 + left_out


def ending_of(name: str) -> str | None:
    """The ending of a name that tells a readable format; None if there is none."""
    return next(
        (end for end in sorted(ENDINGS, key=len, reverse=True) if name.casefold().endswith(end)), None
    )


def files_of(path: Path) -> list[Path]:
    """The files that a raw file is, in order: itself, those of a folder or a pattern, or all of a list.

    Hidden ones are left out of folders and patterns. A path that leads nowhere is itself.
    """
    if path.is_dir() and lake_kind(path) is not None:
        # The table's log says which of its files are current.
        return sorted(one for one in path.rglob("*") if one.is_file())
    if path.is_dir():
        return sorted(
            one
            for one in path.rglob("*")
            if one.is_file() and not any(part.startswith((".", "_")) for part in one.relative_to(path).parts)
        )
    if not is_several(path):
        return [path]
    if BETWEEN_PATHS in str(path):
        listed = [Path(part) for part in str(path).split(BETWEEN_PATHS)]
        return list(dict.fromkeys(file for one in listed for file in files_of(one)))
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return [one for one in found if one.is_file() and not one.name.startswith((".", "_"))]


def is_several(path: Path) -> bool:
    """Whether a path is a pattern or a list of files."""
    text = str(path)
    may_be = BETWEEN_PATHS in text or _PATTERN.search(text) is not None
    return may_be and not path.exists() and not path.is_symlink()


def is_there(path: Path) -> bool:
    """Whether a raw file has any file with data."""
    return any(one.is_file() for one in files_of(path))


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time (ns) of a raw file; of several files, a digest of all."""
    if not path.is_dir() and not is_several(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    found = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files_of(path)]
    digest = hashlib.sha256(repr(found).encode()).digest()
    return sum(size for _, size, _ in found), int.from_bytes(digest[:7])


def head_of(path: Path) -> bytes:
    """The first bytes of a file, enough to recognise its format."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Raise InputError if the first bytes are those of nothing, or of a format that is not read."""
    if not head.strip():
        raise InputError(f"{path}: the file is empty.", COPY_AGAIN)
    for signature, name in _OTHER_FORMATS.items():
        if head.startswith(signature):
            raise InputError(f"{path}: not a CSV but {name}.", "Unpack or convert it to CSV.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path}: not a CSV but a web page.", "Download the file itself.")


def new_file(path: Path, scratch: Path, ending: str) -> Path:
    """The path of a scratch file for `path`, named by its hash; an older file there is removed."""
    made = scratch / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.{ending}"
    made.unlink(missing_ok=True)
    return made
