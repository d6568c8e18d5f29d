"""A first look at a CSV file: its header, and whether it can be read as a CSV at all."""

import codecs
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nightreel.core.errors import InputError
from pipelines.ingest.bounded_files import UpTo
from pipelines.ingest.formats import (
    BLOCK_BYTES,
    COPY_AGAIN,
    HEADER_BYTES_MAX,
    Form,
    Text,
    is_there,
    refuse_other_formats,
    stamp_of,
)
from pipelines.ingest.headers import header_of
from pipelines.ingest.ingest_records import IngestRecord
from pipelines.ingest.quotes import never_closed
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.several import whole_text


@dataclass(frozen=True)
class Header:
    """What a first look at a file shows.

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
        size: bytes of the text that is read, without later additions. Of a folder, or of a file that
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
        """The unit of the counts: lines of a file, or rows of Parquet."""
        return "row" if self.text.format.startswith("Parquet") else "line"


def inspect_csv(
    path: Path, file: RawFile, form: Form, scratch: Path, known: IngestRecord | None = None
) -> Header:
    """Read the whole file once as bytes, and its header.

    Args:
        file: the columns it should hold, by which its delimiter is recognised.
        scratch: the folder for copies.
        known: the record of its last ingest; if it only grew since, only its new rows are to be read.

    Raises:
        InputError: if it is missing, empty, not text in UTF-8, not a CSV, or a quote never ends.
    """
    try:
        return _inspected(path, file, form, scratch, known)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.",
            "Let the user of nightreel read it, or copy it again.",
        ) from None


def _inspected(path: Path, kind: RawFile, form: Form, scratch: Path, known: IngestRecord | None) -> Header:
    if not is_there(path):
        if path.is_symlink():
            raise InputError(f"{path}: a link to a file that does not exist.", "Put the file itself there.")
        if path.exists():
            raise InputError(f"{path}: not a file.", "Put a CSV file there.")
        raise InputError(
            f"{path}: no such file.",
            "Put it there, or name the right one: plays or raw_dir in [data] of nightreel.toml.",
        )
    stamp = stamp_of(path)
    text_file = whole_text(path, kind, form, scratch)
    known = None if text_file.is_copy else known
    with text_file.path.open("rb") as opened:
        status = os.fstat(opened.fileno())
        file = UpTo(opened, status.st_size)
        head = file.read(HEADER_BYTES_MAX)
        if not text_file.by_record:
            refuse_other_formats(path, head)
        digest = hashlib.sha256()
        start = _end_of_known(file, known, digest) if known is not None else 0
        lines_before = known.lines if known is not None and start else 0
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
        # If only carriage returns end lines, as on old Macs, they do end lines.
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
        "Copy the file again, or double the quotes that belong to a text; if there are none around a field, "
        'set quote = "".',
    )


@dataclass(frozen=True)
class _Text:
    """How many quotes (and the line of the last), line ends (of the whole file), returns that end no line."""

    quotes: int
    last_quote: int
    lines: int
    lone_returns: int


def _end_of_known(file: "UpTo", known: IngestRecord, digest: "hashlib._Hash") -> int:
    """Where the file's new rows begin; 0 unless rows were only added since the last ingest."""
    file.seek(0)
    left = known.size
    last_byte = b""
    while left and (block := file.read(min(BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
        last_byte = block[-1:]
    return known.size if not left and last_byte == b"\n" and digest.hexdigest() == known.digest else 0


def _check_text(path: Path, file: "UpTo", lines_before: int, digest: "hashlib._Hash", quote: str) -> _Text:
    """Count the rest of the file. Raises InputError for text that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = lines_before
    quotes = returns = line_ends = 0
    last_quote = 0  # the line that the last quote is on
    last_byte = b""
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(digest.update, b"")
        while block := file.read(BLOCK_BYTES):
            hashed.result()
            hashed = pool.submit(digest.update, block)  # takes as long as all that follows
            try:
                # Whether a block is ASCII is seen in a fraction of the time that decoding takes.
                if not block.isascii() or decoder.getstate()[0]:
                    decoder.decode(block)
            except UnicodeDecodeError as error:
                line = lines + block.count(b"\n", 0, max(error.start, 0)) + 1
                raise InputError(
                    f"{path}, line {line}: not text in UTF-8. Which encoding is it in?",
                    'Set encoding, like encoding = "gbk" or "latin-1", or write the file in UTF-8.',
                ) from None
            if b"\0" in block:
                line = lines + block.count(b"\n", 0, block.index(b"\0")) + 1
                raise InputError(f"{path}, line {line}: a zero byte: not a CSV.", COPY_AGAIN)
            if quote and (in_block := block.count(b'"')):
                last_quote = lines + block.count(b"\n", 0, block.rindex(b'"')) + 1
                quotes += in_block
            lines += block.count(b"\n")
            if in_block := block.count(b"\r"):
                returns += in_block
                line_ends += block.count(b"\r\n")
            line_ends += last_byte == b"\r" and block.startswith(b"\n")
            last_byte = block[-1:]
        hashed.result()
    return _Text(quotes, last_quote, lines, returns - line_ends)
