"""Removes a user's rows from files that are not plain CSV, or whose columns the table `[data]` names.

All that ingest reads: text with any delimiter, JSON lines, Parquet, compressed or not. Other lines stay as
they are.
"""

import codecs
import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings, Paths
from nightreel.operations.forgetting.identity import Person
from pipelines.ingest.formats import HEADER_BYTES_MAX, PACKED, PARQUET, Form, Text, head_of
from pipelines.ingest.headers import header_of
from pipelines.ingest.mapping import files_given, mapped
from pipelines.ingest.quoting import csv_rows, quote_of
from pipelines.ingest.raw_columns import RawFile

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOTHING = "nothing was removed."


@dataclass(frozen=True)
class _File:
    """A file as it is read: what it is, its form, and the column of its users."""

    path: Path
    kind: RawFile
    form: Form
    user: str
    person: Person


def take_out(
    path: Path, file: RawFile, paths: Paths, settings: DataSettings, person: Person, *, dry: bool = False
) -> int:
    """Remove the user's rows from a file, or with `dry` only count them; returns their number.

    Raises:
        InputError: single rows cannot be removed from this kind of file.
    """
    kind = mapped(file, settings)
    user = next(one.shown for one in kind.columns if one.name == columns.USER_ID)
    read = _File(path, kind, Form.of(settings, files_given(file, settings)), user, person)
    paths.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="nightreel-forget-", dir=paths.state) as folder:
        changed = Path(folder) / "without"
        try:
            rows = _without(read, Path(folder), changed)
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise InputError(f"{path}: damaged or cut off.", f"Repair it first; {_NOTHING}") from None
        if rows and not dry:
            _replace(path.resolve(), changed)
    return rows


def _without(read: _File, folder: Path, changed: Path) -> int:
    """Write the file without the user's rows; returns how many these are."""
    target, head = read.path.resolve(), head_of(read.path)
    if head.startswith(PARQUET):
        return _from_parquet(target, read, changed)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    if packed is None:
        return _from_text(target, changed, read)
    plain, kept = folder / "plain", folder / "kept"
    with pa.input_stream(str(target), compression=packed) as source, plain.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    rows = _from_text(plain, kept, read)
    with kept.open("rb") as source, pa.CompressedOutputStream(str(changed), packed) as copy:
        shutil.copyfileobj(source, copy)
    return rows


def _replace(target: Path, changed: Path) -> None:
    """Put the changed file in place, with the time of the old one, by which deliveries are ordered."""
    status = target.stat()
    with atomic_write(target) as temporary:
        shutil.copyfile(changed, temporary)
        shutil.copymode(target, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))


def _from_parquet(target: Path, read: _File, changed: Path) -> int:
    source = pq.ParquetFile(target)
    if read.user not in source.schema_arrow.names:
        raise InputError(
            f"{target}: no column {read.user}; its users may be named by folders.",
            f"Remove the user's folder by hand, then forget again; {_NOTHING}",
        )
    removed = 0
    with pq.ParquetWriter(changed, source.schema_arrow, compression="zstd") as out:
        for batch in source.iter_batches():
            ids = pl.Series(batch.column(read.user)).cast(pl.String)
            theirs = [one for one in ids.unique().drop_nulls() if read.person.is_id(one)]
            kept = ~ids.is_in(theirs).fill_null(value=False)
            removed += int((~kept).sum())
            out.write_batch(batch.filter(pa.array(kept.to_list(), pa.bool_())))
    return removed


def _from_text(source: Path, changed: Path, read: _File) -> int:
    is_theirs, has_header, quote = _test(source, read)
    removed = 0
    with source.open("rb") as file, changed.open("wb") as out:
        for number, record in enumerate(_records(file, quote)):
            theirs = not (has_header and not number) and is_theirs(record)
            removed += theirs
            if not theirs:
                out.write(record)
    return removed


def _records(file: BinaryIO, quote: bytes) -> Iterator[bytes]:
    """The records with their line ends; a quoted field may have line breaks."""
    record = b""
    for line in file:
        record += line
        if not quote or record.count(quote) % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _test(text: Path, read: _File) -> tuple[Callable[[bytes], bool], bool, bytes]:
    """Whether a record is the user's; whether the first one is a header; and what quotes there are."""
    form, user, person = read.form, read.user, read.person
    head = head_of(text)
    encoding = form.encoding or "utf-8"
    if head.startswith(_UTF_16) or "a\n".encode(encoding) != b"a\n":
        raise InputError(
            f"{read.path}: text in an encoding like UTF-16, from which a user's rows cannot be removed.",
            f"Write it in UTF-8, then forget again; {_NOTHING}",
        )
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return (lambda record: _in_json(record, user, person)), False, b""
    many = form.delimiter is not None and len(form.delimiter) > 1
    quote = "" if many else quote_of(form, head)
    if many:
        assert form.delimiter is not None
        delimiter = form.delimiter
        first = head.split(b"\n")[0].decode(encoding, "replace").strip()
        names = list(form.header) or [name.strip() for name in first.split(delimiter)]
    else:
        with text.open("rb") as opened:
            begin = opened.read(HEADER_BYTES_MAX)
        given = Text(text, names=form.header, delimiter=form.delimiter, quote=quote)
        names, delimiter = header_of(read.path, read.kind, given, begin)
    if user not in names:
        raise InputError(f"{read.path}: no column {user}.", f"Correct [data] in nightreel.toml; {_NOTHING}")
    at = names.index(user)

    def is_theirs(record: bytes) -> bool:
        line = record.decode(encoding, "replace").rstrip("\r\n")
        try:
            fields = line.split(delimiter) if many else next(csv_rows([line], delimiter, quote), [])
        except csv.Error:
            fields = line.split(delimiter)
        if len(fields) <= at:
            return person.is_in(line)  # cut off: its user is unknown
        return person.is_id(fields[at])

    return is_theirs, not form.header, quote.encode()


def _in_json(record: bytes, user: str, person: Person) -> bool:
    try:
        found = json.loads(record.removeprefix(codecs.BOM_UTF8), parse_int=str, parse_float=str)
    except ValueError:
        return person.token_bytes.search(record) is not None
    value = found.get(user) if isinstance(found, dict) else None
    return value is not None and person.is_id(str(value))
