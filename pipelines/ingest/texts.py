"""Turns a raw file of any known format into text for the CSV reader; every row stays on its line.

Gzip and zstd are unpacked, Parquet and JSON lines are written as CSV of one record a row, other encodings as
UTF-8. Plain UTF-8 text is read in place.
"""

import codecs
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from nightreel.core.errors import InputError
from pipelines.ingest.formats import (
    BLOCK_BYTES,
    COPY_AGAIN,
    PACKED,
    PARQUET,
    UTF_16,
    Form,
    Text,
    files_of,
    head_of,
    new_file,
)
from pipelines.ingest.json_rows import json_lines
from pipelines.ingest.lake_tables import lake_kind
from pipelines.ingest.parquet_rows import lake_text, parquet_text
from pipelines.ingest.quoting import quote_of, requoted


def text_of(path: Path, form: Form, scratch: Path, *, keep_json: bool = False) -> Text:
    """The file's text; a copy is made in `scratch` unless the file is plain UTF-8.

    Args:
        keep_json: whether JSON lines stay as they are instead of becoming CSV rows.

    Raises:
        InputError: if the file cannot be read in the format that its first bytes announce.
    """
    if path.is_dir() and lake_kind(path) is not None:
        return lake_text(path, scratch)
    if path.is_dir():
        return parquet_text(path, files_of(path), scratch)
    head = head_of(path)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        unpacked = _unpacked(path, packed, scratch)
        text = _of_plain(unpacked, path, form, scratch, keep_json=keep_json)
        return replace(text, is_copy=True, format=f"{text.format}, {packed}")
    if head.startswith(PARQUET):
        return parquet_text(path, [path], scratch)
    return _of_plain(path, path, form, scratch, keep_json=keep_json)


def _of_plain(text: Path, path: Path, form: Form, scratch: Path, *, keep_json: bool) -> Text:
    """The form of uncompressed text.

    Args:
        path: its name in messages.
    """
    head = head_of(text)
    encoding = form.encoding or next((name for bom, name in UTF_16.items() if head.startswith(bom)), None)
    many = form.delimiter is not None and len(form.delimiter) > 1
    is_copy = False
    if (encoding is not None and codecs.lookup(encoding).name != "utf-8") or many:
        text = _transcoded(text, path, encoding or "utf-8", form, scratch)
        head, is_copy = head_of(text), True
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"{") and keep_json:
        return Text(text, is_copy, by_record=True, format="JSON lines")
    if start.startswith(b"{"):
        return json_lines(text, path, scratch)
    if start.startswith(b"[") and start[1:].lstrip().startswith(b"{"):
        raise InputError(f"{path}: one JSON array.", "Write it as JSON lines: an object on each line.")
    named = f", {encoding}" if encoding else ""
    delimiter = "\t" if many else form.delimiter
    quote = quote_of(replace(form, delimiter=delimiter), head)
    if quote not in ('"', ""):
        text, is_copy = requoted(text, path, quote, delimiter, scratch), True
        quote, named = '"', f"{named}, {quote} around fields"
    return Text(text, is_copy, form.header, False, delimiter, format=f"CSV{named}", quote=quote)


def _unpacked(path: Path, packed: str, scratch: Path) -> Path:
    made = new_file(path, scratch, "text")
    try:
        with pa.input_stream(str(path), compression=packed) as file, made.open("wb") as copy:
            shutil.copyfileobj(file, copy, BLOCK_BYTES)
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):
            raise
        raise InputError(f"{path}: compressed with {packed}, and damaged or cut off.", COPY_AGAIN) from None
    return made


def _transcoded(text: Path, path: Path, encoding: str, form: Form, scratch: Path) -> Path:
    """A copy in UTF-8, with a tab for a delimiter of more than one character."""
    made = new_file(path, scratch, "utf8")
    many = form.delimiter if form.delimiter is not None and len(form.delimiter) > 1 else None
    line = 0
    try:
        with text.open(encoding=encoding, newline="\n") as file, made.open("w", encoding="utf-8") as copy:
            for line, row in enumerate(file, 1):
                if many and "\t" in row:
                    raise InputError(f"{path}, line {line}: a tab.", f"Write no tabs beside {many!r}.")
                copy.write(row.replace(many, "\t") if many else row)
    except UnicodeError:
        raise InputError(
            f"{path}, line {line + 1}: not text in {encoding}.", 'Set encoding to the right one, like "gbk".'
        ) from None
    return made
