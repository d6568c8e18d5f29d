"""Finds rows swallowed by a quote: by a field that opens with a quote on one line and ends lines later.

A caption may have line breaks within quotes. But if no comma follows the closing quote, or a line within
looks like a whole row, a quote was left open and swallowed the rows up to the next one.
"""

import re
from collections.abc import Iterable
from functools import cache

import polars as pl

from pipelines.ingest.raw_columns import Kind, RawFile

_KEY = re.compile(r'\s*"?\s*[+-]?[0-9]+(\.0*)?\s*"?\s*')


@cache
def _patterns(delimiter: str) -> tuple["re.Pattern[str]", "re.Pattern[str]", "re.Pattern[str]"]:
    """A whole record, its fields, and the quote that opens one of several lines."""
    comma = re.escape(delimiter)
    field = rf'(?:"(?:[^"]|"")*"|[^"{comma}\n][^{comma}\n]*|)'
    return (
        re.compile(rf"{field}(?:{comma}{field})*"),
        re.compile(rf"(?:^|{comma})({field})"),
        re.compile(rf'(?:^|{comma})"(?:[^"]|"")*\n', re.MULTILINE),
    )


def key_index(file: RawFile, names: list[str]) -> int:
    """The index in the header of the first key, which every row must have."""
    key = next(column.name for column in file.columns if column.kind is Kind.KEY and not column.nullable)
    return names.index(key)


def is_swallowing(record: str, fields: int, key: int, delimiter: str = ",") -> bool:
    """Whether a record of several lines holds other rows, in a file with this many fields."""
    strict, parts, _ = _patterns(delimiter)
    if strict.fullmatch(record) is None:
        return True
    return any(
        _holds_rows(field.split("\n"), index, fields, key, delimiter)
        for index, field in enumerate(parts.findall(record))
        if "\n" in field
    )


def opening_line(record: str, line: int, delimiter: str = ",") -> int:
    """The line of the quote that opens the first field that spans several lines.

    Args:
        line: where the record begins.
    """
    found = _patterns(delimiter)[2].search(record)
    return line + (record.count("\n", 0, found.start() + 1) if found else 0)


def never_closed(lines: Iterable[bytes], fields: int, delimiter: str = ",") -> int:
    """In a text with an odd number of quotes, the line (from 1) of the quote that is probably never closed.

    The first quote that opens a text with a whole row in it, or else the last that opens one.
    """
    opened, is_open = 1, False
    for number, line in enumerate(lines, 1):
        if is_open and line.count(delimiter.encode()) >= max(fields - 1, 1):
            break
        if line.count(b'"') % 2:
            is_open = not is_open
            opened = number if is_open else opened
    return opened


def spans_of(lines: pl.Series, breaks: pl.Series) -> pl.DataFrame:
    """The records of several lines: line, and how many line breaks they have."""
    return pl.DataFrame([lines.alias("line"), breaks.cast(pl.Int64).alias("breaks")])


def _holds_rows(parts: list[str], index: int, fields: int, key: int, delimiter: str) -> bool:
    if index == key:
        return True  # a key has no line breaks
    if any(part.count(delimiter) >= fields - 1 and _has_key(part, key, delimiter) for part in parts[1:-1]):
        return True
    # Two consecutive rows: the end of the first, and the beginning of the second.
    is_end = parts[0].count(delimiter) >= fields - 1 - index
    begins = parts[-1].count(delimiter) >= index and _has_key(parts[-1], key, delimiter)
    return key < index and is_end and begins


def _has_key(part: str, key: int, delimiter: str) -> bool:
    found = part.split(delimiter)
    return len(found) > key and _KEY.fullmatch(found[key]) is not None
