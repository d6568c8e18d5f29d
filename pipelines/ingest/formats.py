"""Turns a raw file of any known format into text that the CSV reader reads, without moving a line.

What a file is, its first bytes say, not its name: gzip and zstd are unpacked, Parquet and JSON lines are
written as CSV of one record a row, other encodings as UTF-8. Plain UTF-8 text is read where it lies.
"""

import codecs
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.dataset

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings

DELIMITERS = (",", "\t", ";", "|")
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
ENDINGS = (*(text + packed for text in _TEXT_ENDINGS for packed in ("", ".gz", ".zst")), ".parquet")
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET = b"PAR1"
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEAD_BYTES = 4096
_BLOCK_BYTES = 8 * 2**20
_COPY_AGAIN = "Download or copy the file again."


@dataclass(frozen=True)
class Form:
    """What settings say of the files; what is None or `auto` is recognised from the data."""

    delimiter: str | None = None
    encoding: str | None = None
    time_format: str = "auto"

    @classmethod
    def of(cls, settings: Settings) -> "Form":
        """The form that the settings give."""
        return cls(settings.delimiter, settings.encoding, settings.time_format)


@dataclass(frozen=True)
class Text:
    """A raw file as text. path: of the text; is_copy: it is no file of the user's.

    names: of the columns where the text has no header, as of records; by_record: a row is a record, whatever
    line breaks its values have. delimiter: where it is known. bad: records that could not be written (number,
    reason, raw). format: for people.
    """

    path: Path
    is_copy: bool = False
    names: tuple[str, ...] = ()
    by_record: bool = False
    delimiter: str | None = None
    bad: tuple[tuple[int, str, str], ...] = ()
    format: str = "CSV"


def ending_of(name: str) -> str | None:
    """The ending of a name by which it may be read; None where it has none."""
    return next(
        (end for end in sorted(ENDINGS, key=len, reverse=True) if name.casefold().endswith(end)), None
    )


def files_of(path: Path) -> list[Path]:
    """The files that a raw file is: itself, or those of a folder, in order; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    return sorted(
        one
        for one in path.rglob("*")
        if one.is_file() and not any(part.startswith((".", "_")) for part in one.relative_to(path).parts)
    )


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time (ns) of a raw file; of a folder, a digest of those of its files."""
    if not path.is_dir():
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    found = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files_of(path)]
    digest = hashlib.sha256(repr(found).encode()).digest()
    return sum(size for _, size, _ in found), int.from_bytes(digest[:7])


def text_of(path: Path, form: Form, scratch: Path) -> Text:
    """The file's text; a copy of it is made in `scratch` where it is no plain UTF-8.

    Raises InputError where what it is cannot be read as it says.
    """
    if path.is_dir():
        return _parquet(path, scratch)
    head = _head(path)
    packed = next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        unpacked = _unpacked(path, packed, scratch)
        text = _of_plain(unpacked, path, form, scratch)
        return replace(text, is_copy=True, format=f"{text.format}, {packed}")
    if head.startswith(_PARQUET):
        return _parquet(path, scratch)
    return _of_plain(path, path, form, scratch)


def _of_plain(text: Path, path: Path, form: Form, scratch: Path) -> Text:
    """What text that is not packed is; path: how it is named to people."""
    head = _head(text)
    encoding = form.encoding or next((name for bom, name in _UTF_16.items() if head.startswith(bom)), None)
    many = form.delimiter is not None and len(form.delimiter) > 1
    is_copy = False
    if (encoding is not None and codecs.lookup(encoding).name != "utf-8") or many:
        text = _transcoded(text, path, encoding or "utf-8", form, scratch)
        head, is_copy = _head(text), True
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"{"):
        return _json_lines(text, path, scratch)
    if start.startswith(b"[") and start[1:].lstrip().startswith(b"{"):
        raise InputError(f"{path}: one JSON array.", "Write it as JSON lines: an object on each line.")
    named = f", {encoding}" if encoding else ""
    return Text(text, is_copy, delimiter="\t" if many else form.delimiter, format=f"CSV{named}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _new(path: Path, scratch: Path, ending: str) -> Path:
    made = scratch / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.{ending}"
    made.unlink(missing_ok=True)
    return made


def _unpacked(path: Path, packed: str, scratch: Path) -> Path:
    made = _new(path, scratch, "text")
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
    made = _new(path, scratch, "utf8")
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


def _json_lines(text: Path, path: Path, scratch: Path) -> Text:
    """A record a row; numbers keep the digits that they are written with."""
    names: dict[str, None] = {}
    with text.open("rb") as file:
        for _, record, _ in _records(file):
            names.update(dict.fromkeys(record or ()))
    made = _new(path, scratch, "rows")
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


def _parquet(path: Path, scratch: Path) -> Text:
    """The rows of a Parquet file, or of a folder of them, whose `column=value` folders are columns."""
    files = files_of(path)
    if not files:
        raise InputError(f"{path}: a folder without files.", "Put the Parquet files there.")
    other = next((one for one in files if not _head(one).startswith(_PARQUET)), None)
    if other is not None:
        raise InputError(
            f"{other}: no Parquet file.", f"Only Parquet is read from a folder: move it out of {path}."
        )
    base = str(path) if path.is_dir() else str(path.parent)
    made = _new(path, scratch, "rows")
    try:
        data = pyarrow.dataset.dataset(
            [str(one) for one in files],
            format="parquet",
            partitioning="hive" if path.is_dir() else None,
            partition_base_dir=base,
        )
        with made.open("w", encoding="utf-8", newline="") as copy:
            _write_rows(data.to_batches(), copy)
        names = tuple(data.schema.names)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        if getattr(error, "errno", None):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: a Parquet file that cannot be read: {first}", _COPY_AGAIN) from None
    return Text(made, True, names, True, ",", (), "Parquet")


def _write_rows(batches: Iterable[pa.RecordBatch], copy: TextIO) -> None:
    for batch in batches:
        if not batch.num_rows:
            continue
        frame = pl.DataFrame(pa.Table.from_batches([batch]))
        copy.write(
            frame.select(_as_text(frame[name]) for name in frame.columns).write_csv(include_header=False)
        )


def _as_text(values: pl.Series) -> pl.Series:
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
    if kind == pl.Binary:
        return values.cast(pl.String, strict=False)
    return values if kind.is_float() else values.cast(pl.String)
