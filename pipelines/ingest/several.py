"""Reads several files of a log, from a pattern or a list, as one, in order."""

import codecs
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from nightreel.core.errors import InputError
from pipelines.ingest.formats import (
    HEADER_BYTES_MAX,
    PARQUET,
    Form,
    Text,
    files_of,
    head_of,
    is_several,
    new_file,
)
from pipelines.ingest.headers import header_of
from pipelines.ingest.json_rows import json_lines
from pipelines.ingest.parquet_rows import parquet_text
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.texts import text_of

_BLOCK_BYTES = 8 * 2**20


def whole_text(path: Path, kind: RawFile, form: Form, scratch: Path) -> Text:
    """The text of a raw file, which may be one file, a folder, a pattern or a list.

    Raises:
        InputError: if the files differ in their columns or formats.
    """
    if not is_several(path):
        return text_of(path, form, scratch)
    files = files_of(path)
    missing = next((one for one in files if not one.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing}: no such file.", "Correct [data] in nightreel.toml.")
    if all(head_of(one).startswith(PARQUET) for one in files):
        return parquet_text(path, files, scratch)
    return _joined(path, files, kind, form, scratch)


def _joined(path: Path, files: list[Path], kind: RawFile, form: Form, scratch: Path) -> Text:
    """The lines of all files, with the header of the first alone."""
    made = new_file(path, scratch, "whole")
    parts: list[tuple[int, int, Path]] = []
    first: tuple[Text, list[str], str] | None = None
    line = 1
    with made.open("wb") as whole:
        for file in files:
            text, is_json = _plain(file, form, scratch)
            names, delimiter = ([], "") if is_json else header_of(file, kind, text, _begin(text.path))
            if first is None:
                first = (text, names, delimiter)
            elif (names, delimiter, is_json) != (first[1], first[2], first[0].by_record):
                raise InputError(
                    f"{files[0].name} and {file.name}: not the same columns, or not of one format; they are "
                    f"read as one: {path}.",
                    "Give them the same columns in the same order.",
                )
            left_out = 0 if not parts or is_json or text.names else 1
            parts.append((line, left_out, file))
            line += _append(text.path, whole, skip_header=bool(left_out))
            if text.is_copy:
                text.path.unlink()
    assert first is not None
    text, _, delimiter = first
    joined = (
        json_lines(made, path, scratch)
        if text.by_record
        else replace(text, path=made, is_copy=True, delimiter=delimiter)
    )
    return replace(joined, parts=tuple(parts), format=f"{joined.format}, {len(files)} files")


def _plain(file: Path, form: Form, scratch: Path) -> tuple[Text, bool]:
    """The file's own text: JSON lines unchanged, not yet as rows."""
    text = text_of(file, form, scratch, keep_json=True)
    if text.format.startswith("Parquet"):
        raise InputError(f"{file}: a Parquet file among others.", "Read files of one format together.")
    return text, text.by_record


def _begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES_MAX)


def _append(path: Path, whole: BinaryIO, *, skip_header: bool) -> int:
    """Copy a file's text, ending the last line; returns the number of lines."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        if skip_header:
            file.readline()
        elif file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            whole.write(block)
            lines += block.count(b"\n")
            last = block[-1:]
    if last != b"\n":
        whole.write(b"\n")
        lines += 1
    return lines
