"""Converts JSON lines to CSV, one record per row."""

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nightreel.core.errors import InputError
from pipelines.ingest.formats import COPY_AGAIN, Text, new_file


def json_lines(text: Path, path: Path, scratch: Path) -> Text:
    """Convert each line to a record; numbers keep their digits as written."""
    names: dict[str, None] = {}
    with text.open("rb") as file:
        for _, record, _ in _records(file):
            names.update(dict.fromkeys(record or ()))
    made = new_file(path, scratch, "rows")
    bad: list[tuple[int, str, str]] = []
    with text.open("rb") as file, made.open("w", encoding="utf-8", newline="") as copy:
        rows = csv.writer(copy, lineterminator="\n")
        for number, record, line in _records(file):
            if record is None and line.strip():
                if not line.endswith(b"\n"):
                    raise InputError(
                        f"{path}, line {number}: the file ends in the middle of a row.", COPY_AGAIN
                    )
                bad.append((number, "is not a JSON object", line.decode("utf-8", "replace").rstrip("\r\n")))
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
