"""Turns a raw file of any known format into text that the CSV reader reads, without moving a line.

What a file is, its first bytes say, not its name: gzip and zstd are unpacked, Parquet and JSON lines are
written as CSV of one record a row, other encodings as UTF-8. Plain UTF-8 text is read where it lies.
"""

import codecs
import csv
import hashlib
import json
import os
import re
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core.errors import InputError
from nightreel.core.log_layout import BETWEEN_PATHS, Files
from nightreel.core.settings import DataSettings
from pipelines.ingest.lake_tables import lake_kind, lake_rows
from pipelines.ingest.uuids import frame_of

if TYPE_CHECKING:
    import pyarrow.dataset as ds

DELIMITERS = (",", "\t", ";", "|")
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
ENDINGS = (*(text + packed for text in _TEXT_ENDINGS for packed in ("", ".gz", ".zst")), ".parquet")
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
PARQUET = b"PAR1"
# What is not read, by how it begins.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (or an Excel workbook)",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
}
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEAD_BYTES = 4096
HEADER_BYTES_MAX = 65_536
_PATTERN = re.compile(r"[*?\[]")
_QUOTED_BY_APOSTROPHE = re.compile(r"^'[^']*'$")
_LOOKED_AT = 20
_BLOCK_BYTES = 8 * 2**20
_COPY_AGAIN = "Download or copy the file again."


@dataclass(frozen=True)
class Form:
    """What settings say of the files; what is None or `auto` is recognised from the data."""

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
        if given is None:
            return cls(
                settings.delimiter,
                settings.encoding,
                settings.time_format,
                settings.quote,
            )
        return cls(
            settings.delimiter if given.delimiter is None else given.delimiter,
            settings.encoding if given.encoding is None else given.encoding,
            settings.time_format,
            settings.quote if given.quote is None else given.quote,
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
    """The ending of a name by which it may be read; None where it has none."""
    return next(
        (end for end in sorted(ENDINGS, key=len, reverse=True) if name.casefold().endswith(end)), None
    )


def files_of(path: Path) -> list[Path]:
    """The files that a raw file is, in order: itself, those of a folder or a pattern, or all of a list.

    Hidden ones are left out of folders and patterns. A path that leads nowhere is itself.
    """
    if path.is_dir() and lake_kind(path) is not None:
        # Its log says which of the others count.
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


def text_of(path: Path, form: Form, scratch: Path, *, keep_json: bool = False) -> Text:
    """The file's text; a copy is made in `scratch` unless the file is plain UTF-8.

    Args:
        keep_json: whether JSON lines stay as they are instead of becoming CSV rows.

    Raises:
        InputError: if the file cannot be read in the format that its first bytes announce.
    """
    if path.is_dir() and lake_kind(path) is not None:
        return _lake_text(path, scratch)
    if path.is_dir():
        return parquet_text(path, files_of(path), scratch)
    head = head_of(path)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        unpacked = _unpacked(path, packed, scratch)
        text = _of_plain(unpacked, path, form, scratch, keep_json=keep_json)
        return replace(text, is_copy=True, format=f"{text.format}, {packed}")
    if head.startswith(PARQUET):
        return parquet_text(path, [path], scratch)
    return _of_plain(path, path, form, scratch, keep_json=keep_json)


def _of_plain(text: Path, path: Path, form: Form, scratch: Path, *, keep_json: bool) -> Text:
    """What text that is not packed is.

    Args:
        path: how it is named to people.
    """
    head = head_of(text)
    encoding = form.encoding or next((name for bom, name in _UTF_16.items() if head.startswith(bom)), None)
    many = form.delimiter is not None and len(form.delimiter) > 1
    is_copy = False
    if (encoding is not None and codecs.lookup(encoding).name != "utf-8") or many:
        text = _transcoded(text, path, encoding or "utf-8", form, scratch)
        head, is_copy = head_of(text), True
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"{") and keep_json:
        return Text(text, is_copy, by_record=True, format="JSON lines")
    if start.startswith(b"{"):
        return json_lines(text, path, scratch)
    if start.startswith(b"[") and start[1:].lstrip().startswith(b"{"):
        raise InputError(f"{path}: one JSON array.", "Write it as JSON lines: an object on each line.")
    named = f", {encoding}" if encoding else ""
    delimiter = "\t" if many else form.delimiter
    quote = quote_of(replace(form, delimiter=delimiter), head)
    if quote not in ('"', ""):
        text, is_copy = _requoted(text, path, quote, delimiter, scratch), True
        quote, named = '"', f"{named}, {quote} around fields"
    return Text(text, is_copy, form.header, False, delimiter, format=f"CSV{named}", quote=quote)


def csv_rows(lines: Iterable[str], delimiter: str, quote: str = '"') -> "Iterator[list[str]]":
    """The fields of each line of CSV; an empty `quote` means that fields are not quoted."""
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def quote_of(form: Form, head: bytes) -> str:
    """The quote character around fields: as the form says, or as in the first lines."""
    if form.quote is not None:
        return form.quote
    return "'" if _is_quoted_by_apostrophe(head, form.delimiter) else '"'


def _is_quoted_by_apostrophe(head: bytes, delimiter: str | None) -> bool:
    """Whether a column of the first lines has all of its fields between apostrophes, and none has quotes."""
    lines = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").splitlines()
    # The last line may be cut off.
    lines = lines[: len(lines) - (len(head) == _HEAD_BYTES)][:_LOOKED_AT]
    if b'"' in head or not lines or "'" not in lines[-1]:
        return False
    return any(
        all(len(row) > at and _QUOTED_BY_APOSTROPHE.match(row[at]) for row in rows[-max(len(rows) - 1, 1) :])
        for rows in (
            [line.split(one) for line in lines] for one in ((delimiter,) if delimiter else DELIMITERS)
        )
        for at in range(len(rows[0]))
    )


def _requoted(text: Path, path: Path, quote: str, delimiter: str | None, scratch: Path) -> Path:
    """A copy with standard quotes, whose rows stand on the same lines."""
    made = new_file(path, scratch, "quoted")
    with text.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        first = file.readline()
        widths = {one: len(next(csv_rows([first], one, quote), [])) for one in DELIMITERS}
        delimiter = delimiter or max(widths, key=lambda one: widths[one])
        file.seek(0)
        with made.open("w", encoding="utf-8", errors="surrogateescape", newline="") as copy:
            rows = csv.writer(copy, delimiter=delimiter, lineterminator="\n")
            try:
                rows.writerows(csv_rows(file, delimiter, quote))
            except csv.Error as error:
                raise InputError(f"{path}: not a CSV with {quote} quotes: {error}.", "Set quote.") from None
    return made


def head_of(path: Path) -> bytes:
    """The first bytes of a file, enough to recognise its format."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Raise InputError if the first bytes are those of nothing, or of a format that is not read."""
    if not head.strip():
        raise InputError(f"{path}: the file is empty.", _COPY_AGAIN)
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


def _unpacked(path: Path, packed: str, scratch: Path) -> Path:
    made = new_file(path, scratch, "text")
    try:
        with pa.input_stream(str(path), compression=packed) as file, made.open("wb") as copy:
            shutil.copyfileobj(file, copy, _BLOCK_BYTES)
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):
            raise
        raise InputError(f"{path}: compressed with {packed}, and damaged or cut off.", _COPY_AGAIN) from None
    return made


def _transcoded(text: Path, path: Path, encoding: str, form: Form, scratch: Path) -> Path:
    """A copy in UTF-8, with a tab for a delimiter of more than one character."""
    made = new_file(path, scratch, "utf8")
    many = form.delimiter if form.delimiter is not None and len(form.delimiter) > 1 else None
    line = 0
    try:
        with text.open(encoding=encoding, newline="\n") as file, made.open("w", encoding="utf-8") as copy:
            for line, row in enumerate(file, 1):
                if many and "\t" in row:
                    raise InputError(f"{path}, line {line}: a tab.", f"Write no tabs beside {many!r}.")
                copy.write(row.replace(many, "\t") if many else row)
    except UnicodeError:
        raise InputError(
            f"{path}, line {line + 1}: not text in {encoding}.", 'Set encoding to the right one, like "gbk".'
        ) from None
    return made


def json_lines(text: Path, path: Path, scratch: Path) -> Text:
    """A record a row; numbers keep the digits that they are written with."""
    names: dict[str, None] = {}
    with text.open("rb") as file:
        for _, record, _ in _records(file):
            names.update(dict.fromkeys(record or ()))
    made = new_file(path, scratch, "rows")
    bad: list[tuple[int, str, str]] = []
    with text.open("rb") as file, made.open("w", encoding="utf-8", newline="") as copy:
        rows = csv.writer(copy, lineterminator="\n")
        for number, record, line in _records(file):
            if record is None and line.strip():
                if not line.endswith(b"\n"):
                    raise InputError(
                        f"{path}, line {number}: the file ends in the middle of a row.", _COPY_AGAIN
                    )
                bad.append((number, "is no JSON object", line.decode("utf-8", "replace").rstrip("\r\n")))
            rows.writerow([_field((record or {}).get(name)) for name in names])
    return Text(made, True, tuple(names), True, ",", tuple(bad), "JSON lines")


def _records(file: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | None, bytes]]:
    """Each line's number, its object (None where there is none), and its text."""
    for number, read in enumerate(file, 1):
        line = read.removeprefix(codecs.BOM_UTF8) if number == 1 else read
        try:
            record = json.loads(line, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            record = None
        yield number, record if isinstance(record, dict) else None, line


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return f"[{','.join(map(_field, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def parquet_text(path: Path, files: list[Path], scratch: Path) -> Text:
    """The rows of Parquet files; of a folder of them, `column=value` folders are columns."""
    require_parquet(path, files)
    made = new_file(path, scratch, "rows")
    try:
        data = parquet_dataset(path, files)
        with made.open("w", encoding="utf-8", newline="") as copy:
            _write_rows(data.to_batches(), copy)
        names = tuple(data.schema.names)
        parts = _parts(files)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        if getattr(error, "errno", None):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: a Parquet file that cannot be read: {first}", _COPY_AGAIN) from None
    return Text(made, True, names, True, ",", (), "Parquet", parts=parts)


def require_parquet(path: Path, files: list[Path]) -> None:
    """Raise InputError unless there are files of a folder, and all are Parquet."""
    if not files:
        raise InputError(f"{path}: a folder without files.", "Put the Parquet files there.")
    other = next((one for one in files if not head_of(one).startswith(PARQUET)), None)
    if other is not None:
        raise InputError(
            f"{other}: no Parquet file.", f"Only Parquet is read from a folder: move it out of {path}."
        )


def parquet_dataset(path: Path, files: list[Path]) -> "ds.Dataset":
    """The files of a path as one, with `column=value` folders as columns."""
    # It imports pandas, .2 s, which commands that only read tables do without.
    import pyarrow.dataset as ds

    is_hive = path.is_dir() or all("=" in one.parent.name for one in files)
    base = str(path) if path.is_dir() else os.path.commonpath([one.parent for one in files])
    if is_hive and not path.is_dir():
        # Folders of `column=value` that a pattern goes through are columns too, the first of them included.
        base = next((str(one) for one in Path(files[0]).parents if "=" not in one.name), base)
    return ds.dataset(
        [str(one) for one in files],
        format="parquet",
        partitioning="hive" if is_hive else None,
        partition_base_dir=base,
    )


def _parts(files: list[Path]) -> tuple[tuple[int, int, Path], ...]:
    """Of several files, the row on which each begins."""
    begins, found = 1, []
    for file in files if len(files) > 1 else ():
        found.append((begins, 0, file))
        begins += pq.read_metadata(file).num_rows
    return tuple(found)


def _lake_text(path: Path, scratch: Path) -> Text:
    """The rows of a Delta or Iceberg table."""
    made = new_file(path, scratch, "rows")
    try:
        names, parts = lake_rows(path)
        with made.open("w", encoding="utf-8", newline="") as copy:
            _write_frames(parts, copy)
    except InputError:
        raise
    except Exception as error:
        # Whatever the package of such tables raises.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: a table that cannot be read: {first}", "Mend it, or name another."
        ) from None
    return Text(made, True, tuple(names), True, ",", (), f"Parquet, {str(lake_kind(path)).capitalize()}")


def _write_rows(batches: Iterable[pa.RecordBatch], copy: TextIO) -> None:
    _write_frames((frame_of(pa.Table.from_batches([one])) for one in batches if one.num_rows), copy)


def _write_frames(frames: Iterable[pl.DataFrame], copy: TextIO) -> None:
    for frame in frames:
        copy.write(
            frame.select(as_text(frame[name]) for name in frame.columns).write_csv(include_header=False)
        )


def as_text(values: pl.Series) -> pl.Series:
    """Values as a CSV would have them; an instant with a zone in UTC, one without as it is."""
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is not None:
            return values.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    if kind == pl.Boolean:
        return values.cast(pl.Int8)
    if isinstance(kind, pl.List | pl.Array):
        as_list = values.cast(pl.List(pl.String)).list.join(",", ignore_nulls=True)
        return pl.select(pl.format("[{}]", as_list).alias(values.name)).to_series()
    if isinstance(kind, pl.Decimal) and kind.scale:
        # They may be ids, which are not written with zeros behind a point.
        return values.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    if kind == pl.Binary:
        return values.cast(pl.String, strict=False)
    return values if kind.is_float() else values.cast(pl.String)
