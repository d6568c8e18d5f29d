"""The columns of a text file and their delimiter: from its first line, or as settings name them."""

import codecs
from pathlib import Path

from nightreel.core.errors import InputError
from pipelines.ingest.formats import DELIMITERS, HEADER_BYTES_MAX, Text
from pipelines.ingest.quoting import csv_rows
from pipelines.ingest.raw_columns import RawFile


def header_of(path: Path, kind: RawFile, text: Text, head: bytes) -> tuple[list[str], str]:
    """The columns, and the delimiter that finds most of the columns that the file may have."""
    if text.by_record:
        return list(text.names), text.delimiter or ","
    line = _first_line(path, head)
    known = {column.shown for column in kind.columns}
    found = [
        ([name.strip() for name in next(csv_rows([line], one, text.quote), [])], one)
        for one in ((text.delimiter,) if text.delimiter else DELIMITERS)
    ]
    if text.names:
        return _given_names(path, text.names, found)
    return max(found, key=lambda names: len(known & set(names[0])))


def _given_names(
    path: Path, given: tuple[str, ...], found: list[tuple[list[str], str]]
) -> tuple[list[str], str]:
    """The names that settings give, and the delimiter by which the first line has as many fields."""
    fields, delimiter = max(found, key=lambda one: (len(one[0]) == len(given), len(one[0])))
    if len(fields) != len(given):
        raise InputError(
            f"{path}, line 1: {len(fields)} fields, where header = [...] of the table [data] names "
            f"{len(given)} columns.",
            "Name every column of the file there, in order; or set its delimiter.",
        )
    return list(given), delimiter


def _first_line(path: Path, head: bytes) -> str:
    line = head.removeprefix(codecs.BOM_UTF8).splitlines()[0]
    if len(line) >= HEADER_BYTES_MAX - len(codecs.BOM_UTF8):
        raise InputError(f"{path}, line 1: longer than any header.", "Is it a CSV with a header line?")
    return line.decode("utf-8", errors="replace")
