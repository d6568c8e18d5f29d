"""Finds rows that a quote swallowed: a field that opens with a quote on one line and ends lines later.

A caption may have line breaks within quotes. But where what follows the closing quote is no comma, or where a
line within looks like a row of its own, a quote was left open and took the rows between with it.
"""

import re
from collections.abc import Iterable

import polars as pl

from pipelines.ingest.raw_files import Kind, RawFile

_FIELD = r'(?:"(?:[^"]|"")*"|[^",\n][^,\n]*|)'
_STRICT = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
_FIELDS = re.compile(rf"(?:^|,)({_FIELD})")
_OPENING = re.compile(r'(?:^|,)"(?:[^"]|"")*\n', re.MULTILINE)
_KEY = re.compile(r'\s*"?\s*[+-]?[0-9]+(\.0*)?\s*"?\s*')


def key_index(file: RawFile, names: list[str]) -> int:
    """Where in the header the first key stands, which every row must have."""
    key = next(column.name for column in file.columns if column.kind is Kind.KEY and not column.nullable)
    return names.index(key)


def is_swallowing(record: str, fields: int, key: int) -> bool:
    """Whether a record of several lines, of a file with so many fields, holds other rows."""
    if _STRICT.fullmatch(record) is None:
        return True
    return any(
        _holds_rows(field.split("\n"), index, fields, key)
        for index, field in enumerate(_FIELDS.findall(record))
        if "\n" in field
    )


def opening_line(record: str, line: int) -> int:
    """The line of the quote that opens the first field of several lines; line: where the record begins."""
    found = _OPENING.search(record)
    return line + (record.count("\n", 0, found.start() + 1) if found else 0)


def never_closed(lines: Iterable[bytes], fields: int) -> int:
    """Of a text with an odd number of quotes, the line (from 1) of the one that is probably never closed.

    The first that opens a text in which a whole row stands, or else the last that opens one.
    """
    opened, is_open = 1, False
    for number, line in enumerate(lines, 1):
        if is_open and line.count(b",") >= max(fields - 1, 1):
            break
        if line.count(b'"') % 2:
            is_open = not is_open
            opened = number if is_open else opened
    return opened


def spans_of(lines: pl.Series, breaks: pl.Series) -> pl.DataFrame:
    """The records of several lines: line, and how many line breaks they have."""
    return pl.DataFrame([lines.alias("line"), breaks.cast(pl.Int64).alias("breaks")])


def _holds_rows(parts: list[str], index: int, fields: int, key: int) -> bool:
    if index == key:
        return True  # a key has no line breaks
    if any(part.count(",") >= fields - 1 and _has_key(part, key) for part in parts[1:-1]):
        return True
    # Two rows that follow one another: the first one's end, and the beginning of the second.
    is_end = parts[0].count(",") >= fields - 1 - index
    return key < index and is_end and parts[-1].count(",") >= index and _has_key(parts[-1], key)


def _has_key(part: str, key: int) -> bool:
    found = part.split(",")
    return len(found) > key and _KEY.fullmatch(found[key]) is not None
