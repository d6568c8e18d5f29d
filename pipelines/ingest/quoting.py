"""The quote character of CSV files, and conversion from a quote character other than the standard one."""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from nightreel.core.errors import InputError
from pipelines.ingest.formats import DELIMITERS, HEAD_BYTES, Form, new_file

_QUOTED_BY_APOSTROPHE = re.compile(r"^'[^']*'$")
_LOOKED_AT = 20


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
    lines = lines[: len(lines) - (len(head) == HEAD_BYTES)][:_LOOKED_AT]
    if b'"' in head or not lines or "'" not in lines[-1]:
        return False
    return any(
        all(len(row) > at and _QUOTED_BY_APOSTROPHE.match(row[at]) for row in rows[-max(len(rows) - 1, 1) :])
        for rows in (
            [line.split(one) for line in lines] for one in ((delimiter,) if delimiter else DELIMITERS)
        )
        for at in range(len(rows[0]))
    )


def requoted(text: Path, path: Path, quote: str, delimiter: str | None, scratch: Path) -> Path:
    """A copy with standard quotes, with every row on the same line as before."""
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
