"""Reads a CSV file as text, in batches, with the line of each row; says clearly what is wrong with a file.

Rows that do not have the header's number of fields are handed out apart, with their text. A file that cannot
be read as a CSV at all, or that was cut off, is refused as a whole.
"""

import codecs
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from nightreel.core.errors import InputError
from pipelines.ingest.formats import HEADER_BYTES_MAX, Form, Text, is_there, refuse_other_formats, stamp_of
from pipelines.ingest.headers import header_of
from pipelines.ingest.quotes import never_closed, opening_line, spans_of
from pipelines.ingest.raw_files import RawFile
from pipelines.ingest.several import whole_text
from pipelines.ingest.taken import Taken

LINE, RAW, REASON = "line", "raw", "reason"
REJECT_SCHEMA: dict[str, pl.DataType] = {LINE: pl.Int64(), REASON: pl.String(), RAW: pl.String()}

_NO_SPANS = pl.DataFrame(schema={LINE: pl.Int64(), "breaks": pl.Int64()})
_BLOCK_BYTES = 8 * 2**20
_LINE_FEED = ord("\n")
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_COPY_AGAIN = "Download or copy the file again."


@dataclass(frozen=True)
class Header:
    """What a first look at a file tells.

    Attributes:
        names: the columns.
        stamp: size in bytes and modification time (ns) of the file itself, taken before it was read.
        has_quotes: whether there are quotes from `start` on.
        lone_returns: whether there are carriage returns from `start` on that end no line, as in four
            captions of KuaiRec, without quotes around them.
        start: the byte at which the rows to be read begin; 0: all but the header.
        lines_before: the number of lines before `start`.
        digest: SHA-256 of the whole file.
        lines: the number of line ends in it.
        size: bytes of the text that is read; what is appended later is not. Of a folder, or of a file that
            was unpacked or converted, the size of the resulting text.
    """

    names: list[str]
    text: Text
    delimiter: str
    stamp: tuple[int, int]
    has_quotes: bool
    lone_returns: bool
    start: int
    lines_before: int
    digest: str
    lines: int
    size: int

    @property
    def skips_line(self) -> bool:
        """Whether the rows to be read begin with a header line."""
        return not self.start and not self.text.names

    @property
    def unit(self) -> str:
        """What is counted: lines of a file, or rows of Parquet."""
        return "row" if self.text.format.startswith("Parquet") else "line"


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


def inspect_csv(path: Path, file: RawFile, form: Form, scratch: Path, taken: Taken | None = None) -> Header:
    """Read the whole file once as bytes, and its header.

    Args:
        file: the columns it should hold, by which its delimiter is recognised.
        scratch: the folder for copies.
        taken: the record of its last ingest; if it only grew since, only what is new is to be read.

    Raises:
        InputError: if it is missing, empty, not text in UTF-8, not a CSV, or a quote never ends.
    """
    try:
        return _inspected(path, file, form, scratch, taken)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.",
            "Let the user of nightreel read it, or copy it again.",
        ) from None


def _inspected(path: Path, kind: RawFile, form: Form, scratch: Path, taken: Taken | None) -> Header:
    if not is_there(path):
        if path.is_symlink():
            raise InputError(f"{path}: a link that leads to no file.", "Put the file itself there.")
        if path.exists():
            raise InputError(f"{path}: not a file.", "Put a CSV file there.")
        raise InputError(
            f"{path}: no such file.",
            "Put it there, or name the right one: plays or raw_dir in [data] of nightreel.toml.",
        )
    stamp = stamp_of(path)
    text_file = whole_text(path, kind, form, scratch)
    taken = None if text_file.is_copy else taken
    with text_file.path.open("rb") as opened:
        status = os.fstat(opened.fileno())
        file = _UpTo(opened, status.st_size)
        head = file.read(HEADER_BYTES_MAX)
        if not text_file.by_record:
            refuse_other_formats(path, head)
        digest = hashlib.sha256()
        start = _end_of_taken(file, taken, digest) if taken is not None else 0
        lines_before = taken.lines if taken is not None and start else 0
        if not start:
            file.seek(0)
            digest = hashlib.sha256()
        names, delimiter = header_of(path, kind, text_file, head)
        text = _check_text(path, file, lines_before, digest, text_file.quote)
    if text.quotes % 2:
        with text_file.path.open("rb") as rest:
            rest.seek(start)
            opened_on = lines_before + never_closed(rest, len(names), delimiter)
        _refuse_open_quote(path, text, opened_on)
    return Header(
        names=names,
        text=text_file,
        delimiter=delimiter,
        stamp=stamp if text_file.is_copy else (status.st_size, status.st_mtime_ns),
        has_quotes=text.quotes > 0,
        # Where nothing but returns ends lines, as on old Macs, they are what they seem.
        lone_returns=text.lone_returns > 0 and text.lines > 0,
        start=start,
        lines_before=lines_before,
        digest=digest.hexdigest(),
        lines=text.lines,
        size=status.st_size,
    )


def _refuse_open_quote(path: Path, text: "_Text", line: int) -> None:
    raise InputError(
        f'{path}: an odd number of quotes ("), the last on line {text.last_quote}: the one that opens on '
        f"line {line} is never closed. Was the file cut off?",
        "Copy the file again, or double the quotes that belong to a text; where none stands around a field, "
        'set quote = "".',
    )


def read_batches(path: Path, header: Header) -> Iterator[TextBatch]:
    """The file's rows in order.

    One batch is read ahead in a thread of its own, while the one before is worked on.

    Raises:
        InputError: if it ends in mid-row, or cannot be split into rows.
    """
    batches = _batches(path, header)
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(next, batches, None)
        while (batch := ahead.result()) is not None:
            ahead = reader.submit(next, batches, None)
            yield batch


def lines_of(header: Header, asked: pl.Series) -> list[str]:
    """The text of these lines, ascending, without their ends. Only of files where a line is a row."""
    numbers = asked.to_numpy()
    found: list[str] = []
    with header.text.path.open("rb") as file:
        file.seek(header.start)
        begin = header.lines_before + 1  # the line on which a block begins
        rest = b""
        while len(found) < len(numbers) and (block := file.read(_BLOCK_BYTES) or (rest and b"\n")):
            text = rest + block
            ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _LINE_FEED)
            starts = np.concatenate([[0], ends + 1])
            positions = numbers[len(found) : np.searchsorted(numbers, begin + len(ends))] - begin
            found += [
                text[start:end].rstrip(b"\r").decode("utf-8")
                for start, end in zip(starts[positions].tolist(), ends[positions].tolist(), strict=True)
            ]
            begin += len(ends)
            rest = text[starts[-1] :]
    return found


def _batches(path: Path, header: Header) -> Iterator[TextBatch]:
    nothing = pl.DataFrame(schema=dict.fromkeys(header.names, pl.String()) | {LINE: pl.Int64()})
    if header.start == header.size:
        yield TextBatch(nothing, pl.DataFrame(schema=REJECT_SCHEMA), header.start, _NO_SPANS)
        return
    pending: list[tuple[int, str, str]] = []
    fields_of_last = len(header.names)

    def keep_broken(row: pa_csv.InvalidRow) -> str:
        nonlocal fields_of_last
        fields_of_last = row.actual_columns
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        pending.append((row.number, reason, row.text))
        return "skip"

    numbers = _LineNumbers(header)
    with header.text.path.open("rb") as opened:
        file = _UpTo(opened, header.size)
        file.seek(header.start)
        try:
            for batch in _open(file, header, keep_broken):
                rows = numbers.given(pl.DataFrame(batch), [(n, text.count("\n")) for n, _, text in pending])
                before = [row for row in pending if row[0] < numbers.next]
                del pending[: len(before)]
                if rows[header.names[0]].null_count():
                    # Blank lines are rows of nothing.
                    rows = rows.filter(~pl.all_horizontal(pl.col(header.names).is_null()))
                yield TextBatch(rows, _broken(before, numbers), file.tell(), numbers.spans)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{path}, after line {numbers.last}: not a CSV: {error}.", "Repair the file."
            ) from None
        numbers.skip([(n, text.count("\n")) for n, _, text in pending])
        if pending and fields_of_last < len(header.names) and not ends_with_newline(header):
            line = int(_broken(pending, numbers)[LINE][-1])
            raise InputError(f"{path}, line {line}: the file ends in the middle of a row.", _COPY_AGAIN)
        yield TextBatch(nothing, _broken(pending, numbers), file.tell(), _NO_SPANS)


def _open(
    file: "_UpTo", header: Header, keep_broken: Callable[[pa_csv.InvalidRow], str]
) -> Iterator[pa.RecordBatch]:
    reader = pa_csv.open_csv(
        pa.PythonFile(_WithoutLoneReturns(file) if header.lone_returns else file, mode="r"),
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
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


def _broken(rows: list[tuple[int, str, str]], numbers: "_LineNumbers") -> pl.DataFrame:
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
    """Whether the last byte that is read ends a line; that of a file that was cut off rarely does."""
    with header.text.path.open("rb") as file:
        file.seek(header.size - 1)
        return file.read(1) in b"\n\r"


class _UpTo(io.RawIOBase):
    """A file as if it ended at `end`: what another process appends meanwhile is of the next time."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._end = file, end

    def readable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """To a byte of the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The byte that is read next."""
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, as many as there are up to size, and not beyond the end."""
        left = max(self._end - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))


class _WithoutLoneReturns(io.RawIOBase):
    """A file in which a carriage return that ends no line reads as a space: Arrow would end the row there."""

    def __init__(self, file: "_UpTo") -> None:
        self._file = file

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, as many as there are up to size."""
        block = self._file.read(max(size - 1, 1) if size > 0 else size)
        if block.endswith(b"\r"):
            # Whether a line feed follows is seen only with the next byte.
            block += self._file.read(1)  # one byte was kept free for it
        return _LONE_RETURN.sub(b" ", block)


class _LineNumbers:
    """Gives each row its line in the file, counting skipped rows and the line breaks within quotes."""

    def __init__(self, header: Header) -> None:
        self._has_breaks = header.has_quotes and not header.text.by_record
        self.delimiter = header.delimiter
        self.spans = _NO_SPANS
        self._breaks: list[tuple[int, int]] = []  # record number, line breaks within it
        self._lines_before = header.lines_before
        # The number of the next record. Where reading begins at the top, the header is record 1.
        self.next = 2 if header.skips_line else 1
        self.last = max(header.lines_before, 1)  # the last line given

    def given(self, rows: pl.DataFrame, skipped: list[tuple[int, int]]) -> pl.DataFrame:
        """The rows with their lines.

        Args:
            skipped: record number and line breaks of each record left out, among these rows or later ones.
        """
        numbers = pl.Series(LINE, np.arange(self.next, self.next + rows.height + len(skipped)))
        if skipped:
            numbers = numbers.filter(~numbers.is_in([number for number, _ in skipped])).head(rows.height)
        self.spans = _NO_SPANS
        if not rows.height:
            return rows.with_columns(numbers)
        self.next = int(numbers[-1]) + 1
        lines = numbers + self._lines_before + sum(count for _, count in self._breaks)
        if self._has_breaks:
            within = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
            breaks = rows.select(within.cast(pl.Int64).alias("breaks"))["breaks"]
            lines = lines + breaks.cum_sum() - breaks
            for number, count in skipped:
                if count:
                    lines = lines + (numbers > number).cast(pl.Int64) * count
            many = breaks > 0
            self._breaks += zip(numbers.filter(many).to_list(), breaks.filter(many).to_list(), strict=True)
            self.spans = spans_of(lines.filter(many), breaks.filter(many))
        self.skip([one for one in skipped if one[0] < self.next])
        self.last = int(lines[-1])
        return rows.with_columns(lines.alias(LINE))

    def skip(self, records: list[tuple[int, int]]) -> None:
        """Count the line breaks within records that were left out."""
        self._breaks += [(number, count) for number, count in records if count]

    def line_of(self, number: int) -> int:
        """The line on which a record begins that was given before, or left out."""
        return number + self._lines_before + sum(count for record, count in self._breaks if record < number)


@dataclass(frozen=True)
class _Text:
    """How many quotes (and the line of the last), line ends (of the whole file), returns that end no line."""

    quotes: int
    last_quote: int
    lines: int
    lone_returns: int


def _end_of_taken(file: "_UpTo", taken: Taken, digest: "hashlib._Hash") -> int:
    """Where the file's new rows begin; 0 unless rows were only added since the last ingest."""
    file.seek(0)
    left = taken.size
    last_byte = b""
    while left and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
        last_byte = block[-1:]
    return taken.size if not left and last_byte == b"\n" and digest.hexdigest() == taken.digest else 0


def _check_text(path: Path, file: "_UpTo", lines_before: int, digest: "hashlib._Hash", quote: str) -> _Text:
    """Count what the rest of the file holds. Refuses what is not UTF-8."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    lines = lines_before
    quotes = returns = line_ends = 0
    last_quote = 0  # the line that the last quote is on
    last_byte = b""
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        try:
            decode(block)
        except UnicodeDecodeError as error:
            line = lines + block.count(b"\n", 0, max(error.start, 0)) + 1
            raise InputError(
                f"{path}, line {line}: not text in UTF-8. Which encoding is it in?",
                'Set encoding, like encoding = "gbk" or "latin-1", or write the file in UTF-8.',
            ) from None
        if b"\0" in block:
            line = lines + block.count(b"\n", 0, block.index(b"\0")) + 1
            raise InputError(f"{path}, line {line}: a zero byte: not a CSV.", _COPY_AGAIN)
        if quote and (in_block := block.count(b'"')):
            last_quote = lines + block.count(b"\n", 0, block.rindex(b'"')) + 1
            quotes += in_block
        lines += block.count(b"\n")
        if in_block := block.count(b"\r"):
            returns += in_block
            line_ends += block.count(b"\r\n")
        line_ends += last_byte == b"\r" and block.startswith(b"\n")
        last_byte = block[-1:]
    return _Text(quotes, last_quote, lines, returns - line_ends)
