"""The first rows of a log of any format, before anything is known of its columns."""

import codecs
import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from nightreel.core.errors import InputError
from nightreel.core.log_layout import SQL
from nightreel.core.settings import Settings
from nightreel.core.settings.sources import from_environment
from pipelines.ingest.databases import QueryRequest, answer
from pipelines.ingest.decimals import COMMA, are_in_commas, have_commas
from pipelines.ingest.formats import (
    DELIMITERS,
    PACKED,
    PARQUET,
    Form,
    files_of,
    head_of,
    refuse_other_formats,
)
from pipelines.ingest.lake_tables import lake_kind, lake_rows
from pipelines.ingest.parquet_rows import as_text, parquet_dataset, require_parquet
from pipelines.ingest.quoting import csv_rows, quote_of
from pipelines.ingest.times import is_day
from pipelines.ingest.uuids import frame_of

_BYTES = 2**20
_COPY_AGAIN = "Download or copy the file again."
ROWS = 1_000
_LOOKED_AT = 20
_MANY = "::"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LIKE_TIME = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ]\d{1,2}:\d{2}|\d{8}T\d{4}")
# A file is binary if more than this share of it are characters that no text has.
_BINARY_SHARE = 0.01
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_ANY_FORM = Form()
Asked = Callable[[str, str, list[str]], str]


@dataclass(frozen=True)
class Sample:
    """Column names and some rows.

    Attributes:
        has_header: whether the file names its columns.
        delimiter: of CSV.
        encoding: if it is not UTF-8.
        in_commas: columns of numbers with decimal commas.
        nested: columns that hold objects or lists.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_header: bool = True
    delimiter: str | None = None
    encoding: str | None = None
    in_commas: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()

    def values(self, name: str) -> list[str]:
        """A column's values, without empty fields."""
        at = self.names.index(name)
        return [text for row in self.rows if (text := row[at].strip())]


def sample_of(log: str, form: Form = _ANY_FORM, decimal: str | None = None) -> Sample:
    """The first rows of a query, of a file, or of the first of several files.

    Args:
        form: the files' delimiter, encoding and quotes, as far as known.
        decimal: the decimal separator, if known.

    Raises:
        InputError: there are no rows.
    """
    if log.startswith(SQL):
        return _of_query(log.removeprefix(SQL))
    path = Path(log)
    if path.is_dir() and lake_kind(path) is not None:
        return _of_lake(path)
    files = [one for one in files_of(path) if one.is_file()]
    if not files:
        raise InputError(f"{path}: no such file.", "Name the file of plays: nightreel init FILE.")
    found = _of_file(files[0], form) if files == [path] else _of_files(path, files, form)
    if not found.rows:
        raise InputError(f"{files[0]}: no rows.", "Name a file with plays.")
    return _with_points(found, decimal)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _of_file(file: Path, form: Form) -> Sample:
    head = head_of(file)
    if head.startswith(PARQUET):
        return _of_parquet(file)
    refuse_other_formats(file, head)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    try:
        with pa.input_stream(str(file), compression=packed) as stream:
            content: bytes = stream.read(_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: it cannot be read: {error}.", _COPY_AGAIN) from None
    text, encoding = _text(content, form.encoding)
    if len(_CONTROL.findall(text)) > _BINARY_SHARE * len(text):
        raise InputError(
            f"{file}: neither text nor Parquet.", "Name a file of a format in docs/your-data.md."
        )
    lines = text.splitlines()
    # The last line may be cut off.
    lines = lines[:-1] if len(content) == _BYTES else lines
    lines = [line for line in lines if line.strip()][: ROWS + 1]
    start = "".join(lines[:2]).lstrip()
    if start.startswith("{"):
        return _of_json(file, lines)
    if start.startswith("[") and start[1:].lstrip().startswith("{"):
        raise InputError(f"{file}: one JSON array.", "Write it as JSON lines: an object on each line.")
    return _of_lines(lines, form, encoding)


def _text(content: bytes, encoding: str | None) -> tuple[str, str | None]:
    """The text, and its encoding where that is to be set."""
    if encoding is not None:
        try:
            return codecs.getincrementaldecoder(encoding)().decode(content), encoding
        except (LookupError, UnicodeDecodeError):
            raise InputError(
                f"--encoding {encoding}: the file is not in this encoding.",
                "Give another, such as gbk or cp1252.",
            ) from None
    for bom, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(bom):
            return content.decode(name, "replace"), None
    try:
        # A character may be cut off at the end.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content), None
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _of_query(query: str) -> Sample:
    # There are no other settings yet.
    _, url = from_environment(Settings).get("data.source_url", ("", None))
    asked = QueryRequest(query, rows_max=ROWS)
    parts = [part for part in answer(asked, None if url is None else SecretStr(url)) if part.num_rows]
    if not parts:
        raise InputError("The query returns no rows.", "Correct it, or check the database.")
    return _of_frame(pl.DataFrame(parts[0]))


def _of_files(path: Path, files: list[Path], form: Form) -> Sample:
    """A sample of several files; folders like `date=2024-03-01` around Parquet become columns."""
    if path.is_dir():
        require_parquet(path, files)
    if not all(head_of(one).startswith(PARQUET) for one in files):
        return _of_file(files[0], form)
    try:
        return _of_frame(frame_of(parquet_dataset(path, files).head(ROWS)))
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path}: Parquet that cannot be read: {first}", _COPY_AGAIN) from None


def _of_lake(path: Path) -> Sample:
    """A sample of a Delta or Iceberg table."""
    _, parts = lake_rows(path)
    first = next((part for part in parts if part.height), None)
    if first is None:
        raise InputError(f"{path}: no rows.", "Name a table with plays.")
    return _of_frame(first.head(ROWS))


def _of_parquet(file: Path) -> Sample:
    try:
        batch = next(pq.ParquetFile(file).iter_batches(ROWS), None)
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{file}: Parquet that cannot be read: {first}", _COPY_AGAIN) from None
    return Sample((), ()) if batch is None else _of_frame(frame_of(pa.Table.from_batches([batch])))


def _of_frame(frame: pl.DataFrame) -> Sample:
    nested = tuple(name for name in frame.columns if frame[name].dtype.is_nested())
    # Columns made from objects are not shown.
    plain = frame.with_columns(
        pl.lit("").alias(name) for name in nested if isinstance(frame[name].dtype, pl.Struct)
    )
    shown = plain.select(as_text(plain[name]).cast(pl.String).fill_null("") for name in plain.columns)
    times = {
        name: frame[name].dt.to_string("iso") for name in frame.columns if frame[name].dtype.is_temporal()
    }
    shown = shown.with_columns(series.fill_null("").alias(name) for name, series in times.items())
    return Sample(tuple(frame.columns), tuple(shown.rows()), nested=nested)


def _of_json(file: Path, lines: list[str]) -> Sample:
    records = []
    for line in lines:
        try:
            record = json.loads(line, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            records.append(record)
    if 2 * len(records) < len(lines):
        raise InputError(f"{file}: no JSON lines.", "Write an object on each line.")
    names = tuple(dict.fromkeys(name for record in records for name in record))
    rows = (tuple(_shown(record.get(name)) for name in names) for record in records)
    nested = {name for record in records for name, value in record.items() if isinstance(value, dict | list)}
    return Sample(names, tuple(rows), nested=tuple(name for name in names if name in nested))


def _shown(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _of_lines(lines: list[str], form: Form, encoding: str | None) -> Sample:
    if not lines:
        return Sample((), ())
    quote = quote_of(form, "\n".join(lines[:_LOOKED_AT]).encode())
    candidates = (*DELIMITERS, _MANY) if form.delimiter is None else (form.delimiter,)
    found = {one: _fields(lines, one, quote) for one in candidates}
    # The delimiter that splits most lines into as many fields as the first one, and into the most fields.
    delimiter = max(
        found, key=lambda one: (_regular_share(found[one]) * (len(found[one][0]) > 1), len(found[one][0]))
    )
    rows = found[delimiter]
    has_header = not any(
        is_number(field) or is_day(field.strip()) or _LIKE_TIME.match(field.strip()) for field in rows[0]
    )
    width = len(rows[0])
    names = (
        tuple(field.strip() for field in rows[0])
        if has_header
        else tuple(f"column_{n + 1}" for n in range(width))
    )
    body = tuple(tuple(row) for row in rows[has_header:] if len(row) == width)
    return Sample(names, body[:ROWS], has_header, delimiter, encoding)


def _with_points(sample: Sample, decimal: str | None) -> Sample:
    """The sample with points in numbers that have decimal commas, and the names of their columns."""
    if decimal not in (None, COMMA) or (decimal is None and sample.delimiter == COMMA):
        return sample
    written = have_commas if decimal == COMMA else are_in_commas
    found = [at for at, name in enumerate(sample.names) if written(sample.values(name))]
    if not found:
        return sample
    rows = tuple(
        tuple(text.replace(COMMA, ".", 1) if at in found else text for at, text in enumerate(row))
        for row in sample.rows
    )
    return replace(sample, rows=rows, in_commas=tuple(sample.names[at] for at in found))


def _fields(lines: list[str], delimiter: str, quote: str) -> list[list[str]]:
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    try:
        return list(csv_rows(lines, delimiter, quote))
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _regular_share(rows: list[list[str]]) -> float:
    """The share of rows with as many fields as the first one has, in tenths."""
    return round(sum(len(row) == len(rows[0]) for row in rows) / len(rows), 1)
