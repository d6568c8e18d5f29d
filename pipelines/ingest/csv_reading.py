"""Reads a CSV file as text, in batches, with the line of each row.

Rows that do not have the header's number of fields are handed out apart, with their text. A file that was cut
off is refused as a whole.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from nightreel.core.errors import InputError
from pipelines.ingest.bounded_files import UpTo, WithoutLoneReturns
from pipelines.ingest.csv_inspection import Header
from pipelines.ingest.formats import BLOCK_BYTES, COPY_AGAIN
from pipelines.ingest.line_numbers import NO_SPANS, LineNumbers
from pipelines.ingest.quotes import opening_line
from pipelines.ingest.reject_columns import LINE, RAW, REJECT_SCHEMA

_LINE_FEED = ord("\n")


@dataclass(frozen=True)
class TextBatch:
    """Some rows of a file: every column as text (empty is null), and `line` int64.

    Attributes:
        broken: rows with a wrong number of fields (line, reason, raw).
        bytes_read: bytes of the file read so far.
        spans: rows that span several lines (line, breaks), to be checked for an unclosed quote.
    """

    rows: pl.DataFrame
    broken: pl.DataFrame
    bytes_read: int
    spans: pl.DataFrame


def lines_of(header: Header, asked: pl.Series) -> pl.Series:
    """The text of these lines, ascending, without their ends. Only of files where a line is a row."""
    numbers = asked.to_numpy()
    # Python's own strings are of one block at a time: they take twice as much memory.
    found = [pl.Series(RAW, dtype=pl.String)]
    done = 0
    with header.text.path.open("rb") as file:
        file.seek(header.start)
        begin = header.lines_before + 1  # the line on which a block begins
        rest = b""
        while done < len(numbers) and (block := file.read(BLOCK_BYTES) or (rest and b"\n")):
            text = rest + block
            ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _LINE_FEED)
            starts = np.concatenate([[0], ends + 1])
            positions = numbers[done : np.searchsorted(numbers, begin + len(ends))] - begin
            lines = [
                text[start:end].rstrip(b"\r").decode("utf-8")
                for start, end in zip(starts[positions].tolist(), ends[positions].tolist(), strict=True)
            ]
            found.append(pl.Series(RAW, lines, dtype=pl.String))
            done += len(lines)
            begin += len(ends)
            rest = text[starts[-1] :]
    return pl.concat(found)


def read_batches(path: Path, header: Header) -> Iterator[TextBatch]:
    """The file's rows in order.

    A thread splits the next block into fields while the current one is processed.

    Raises:
        InputError: if it ends in mid-row, or cannot be split into rows.
    """
    nothing = pl.DataFrame(schema=dict.fromkeys(header.names, pl.String()) | {LINE: pl.Int64()})
    if header.start == header.size:
        yield TextBatch(nothing, pl.DataFrame(schema=REJECT_SCHEMA), header.start, NO_SPANS)
        return
    pending: list[tuple[int, str, str]] = []
    fields_of_last = len(header.names)

    def keep_broken(row: pa_csv.InvalidRow) -> str:
        nonlocal fields_of_last
        fields_of_last = row.actual_columns
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        pending.append((row.number, reason, row.text))
        return "skip"

    numbers = LineNumbers(header)
    with header.text.path.open("rb") as opened:
        file = UpTo(opened, header.size)
        file.seek(header.start)
        try:
            with closing(_read_ahead(_open(file, header, keep_broken))) as batches:
                for batch in batches:
                    skipped = [(n, text.count("\n")) for n, _, text in pending]
                    rows = numbers.given(pl.DataFrame(batch), skipped)
                    before = [row for row in pending if row[0] < numbers.next]
                    del pending[: len(before)]
                    if rows[header.names[0]].null_count():
                        # Blank lines are no rows.
                        rows = rows.filter(~pl.all_horizontal(pl.col(header.names).is_null()))
                    yield TextBatch(rows, _broken(before, numbers), file.tell(), numbers.spans)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{path}, after line {numbers.last}: not a CSV: {error}.", "Repair the file."
            ) from None
        numbers.skip([(n, text.count("\n")) for n, _, text in pending])
        if pending and fields_of_last < len(header.names) and not ends_with_newline(header):
            line = int(_broken(pending, numbers)[LINE][-1])
            raise InputError(f"{path}, line {line}: the file ends in the middle of a row.", COPY_AGAIN)
        yield TextBatch(nothing, _broken(pending, numbers), file.tell(), NO_SPANS)


def _open(
    file: "UpTo", header: Header, keep_broken: Callable[[pa_csv.InvalidRow], str]
) -> Iterator[pa.RecordBatch]:
    reader = pa_csv.open_csv(
        pa.PythonFile(WithoutLoneReturns(file) if header.lone_returns else file, mode="r"),
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=header.names,
            skip_rows=1 if header.skips_line else 0,
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=header.delimiter,
            newlines_in_values=header.has_quotes,
            quote_char=header.text.quote or False,
            ignore_empty_lines=False,
            invalid_row_handler=keep_broken,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header.names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )
    yield from reader


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(next, batches, None)
        while (batch := ahead.result()) is not None:
            ahead = reader.submit(next, batches, None)
            yield batch


def _broken(rows: list[tuple[int, str, str]], numbers: "LineNumbers") -> pl.DataFrame:
    """Rejects of rows with a wrong number of fields; of several lines, each line counts."""
    found = []
    for number, reason, text in rows:
        line, parts = numbers.line_of(number), text.rstrip("\r\n").split("\n")
        why = reason
        if len(parts) > 1:
            last = line + len(parts) - 1
            opened = opening_line(text, line, numbers.delimiter)
            why = f"{reason}; a quote opens on line {opened}, the row ends on line {last}"
        found += [(line + at, why, part.rstrip("\r")) for at, part in enumerate(parts)]
    return pl.DataFrame(found, schema=REJECT_SCHEMA, orient="row")


def ends_with_newline(header: Header) -> bool:
    """Whether the last byte ends a line; in a file that was cut off it rarely does."""
    with header.text.path.open("rb") as file:
        file.seek(header.size - 1)
        return file.read(1) in b"\n\r"
