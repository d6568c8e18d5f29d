"""A raw file that exists: its header, the columns that it has, and how its times are written."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Paths
from pipelines.ingest.csv_inspection import Header, inspect_csv
from pipelines.ingest.decimals import COMMA, SHOWN, are_in_commas
from pipelines.ingest.formats import Form
from pipelines.ingest.ingest_records import IngestRecord
from pipelines.ingest.mapping import files_given, mapped, renamed
from pipelines.ingest.quoting import csv_rows
from pipelines.ingest.raw_columns import Kind, RawFile
from pipelines.ingest.raw_files import LOCAL_TIME, TIMESTAMP, present_columns
from pipelines.ingest.times import AUTO, ISO, SECONDS, UNITS, recognised, shown

_USUAL = {TIMESTAMP: SECONDS, LOCAL_TIME: ISO}
_SAMPLE_ROWS = 1000
_SCRATCH = "unpacked-"
_LEFT_BEHIND_S = 86_400


@dataclass(frozen=True)
class Source:
    """An existing raw file: the columns it may have, those it has, and its header.

    If reading starts inside the file, the table of the earlier rows is needed.

    Attributes:
        file: with the columns as settings map them.
        present: with only the columns that the header names.
        time_format: of the times of its rows.
        recognised: what was found out about its format, for messages; empty for a plain CSV.
    """

    path: Path
    file: RawFile
    present: RawFile
    header: Header
    time_format: str
    recognised: dict[str, str]
    in_commas: frozenset[str] = frozenset()


@contextmanager
def scratch_folder(paths: Paths) -> Iterator[Path]:
    """A folder in the home for copies of raw files; leftovers of a killed process are removed."""
    paths.state.mkdir(parents=True, exist_ok=True)
    for old in paths.state.glob(f"{_SCRATCH}*"):
        if old.stat().st_mtime < time.time() - _LEFT_BEHIND_S:
            rmtree(old, ignore_errors=True)
    with TemporaryDirectory(prefix=_SCRATCH, dir=paths.state, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def source_of(
    path: Path, file: RawFile, settings: DataSettings, scratch: Path, known: IngestRecord | None = None
) -> Source:
    """Inspect a raw file or a delivery.

    Args:
        known: the record of its last ingest.

    Raises:
        InputError: if it cannot be read, lacks a column, or has times that can be read in two ways.
    """
    form, file = Form.of(settings, files_given(file, settings)), mapped(file, settings)
    header = inspect_csv(path, file, form, scratch, known)
    own_names = header.names
    header = replace(header, names=renamed(own_names, file, path))
    time_format, read_as = ISO, {}
    if file.is_timed:
        header, column, time_format = _with_times(path, header, own_names, form)
        if column and time_format != _USUAL[column]:
            shown_name = own_names[header.names.index(TIMESTAMP if time_format in UNITS else LOCAL_TIME)]
            read_as = {"times": f"{shown_name}: {shown(time_format)}"}
    if header.text.format != "CSV" or header.delimiter != ",":
        between = "" if header.delimiter == "," else f", {header.delimiter!r} between columns"
        read_as = {"format": header.text.format + between, **read_as}
    present = present_columns(file, header.names, path)
    header = replace(header, names=_distinct(header.names))
    in_commas = _in_commas(present, header, settings.format.decimal)
    if in_commas:
        shown_names = [own_names[header.names.index(name)] for name in sorted(in_commas)]
        read_as = {**read_as, "numbers": f"{', '.join(shown_names)}: {SHOWN}"}
    if file.has_plays and columns.WATCH_RATIO not in header.names:
        read_as = {**read_as, columns.WATCH_RATIO: _event_weights(file, header)}
    return Source(
        path, file, present, header, time_format, {"file": path.name, **read_as} if read_as else {}, in_commas
    )


def _distinct(names: list[str]) -> list[str]:
    """The names, with numbers after repeated ones, whose columns are not read."""
    return [
        f"{name} ({names[: at + 1].count(name)})" if name in names[:at] else name
        for at, name in enumerate(names)
    ]


def _in_commas(present: RawFile, header: Header, decimal: str | None) -> frozenset[str]:
    """The columns of numbers with decimal commas."""
    kinds = (Kind.NUMBER, Kind.INTEGER)
    names = [one.name for one in present.columns if one.kind in kinds and one.name in header.names]
    if decimal is not None:
        return frozenset(names if decimal == COMMA else ())
    if header.delimiter == COMMA and not header.text.by_record:
        return frozenset()
    rows = _sample(header)
    found = {name: header.names.index(name) for name in names}
    return frozenset(
        name for name, at in found.items() if are_in_commas(row[at] for row in rows if len(row) > at)
    )


def _event_weights(file: RawFile, header: Header) -> str:
    """How the weight of a play is computed if the file does not have it."""
    if file.layout is not None and file.layout.event_weights:
        return ", ".join(f"{event}: {weight:g}" for event, weight in file.layout.event_weights)
    if {columns.PLAY_DURATION, columns.VIDEO_DURATION} <= set(header.names):
        return f"{columns.PLAY_DURATION} / {columns.VIDEO_DURATION}"
    return "1 for each play: the log has plays alone"


def _with_times(path: Path, header: Header, own_names: list[str], form: Form) -> tuple[Header, str, str]:
    """The header, its time column named after what it holds, the name that it had, and its format."""
    column = next((name for name in (TIMESTAMP, LOCAL_TIME) if name in header.names), "")
    if not column:
        return header, "", ISO
    usual = _USUAL[column]
    time_format = form.time_format
    if time_format == AUTO:
        at = header.names.index(column)
        values = [row[at] for row in _sample(header) if len(row) > at]
        time_format = recognised(values, usual, path, own_names[at])
    named = TIMESTAMP if time_format in UNITS else LOCAL_TIME
    if named != column and named not in header.names:
        header = replace(header, names=[named if name == column else name for name in header.names])
    elif named != column:
        time_format = usual
    return header, column, time_format


def first_values(source: Source, column: str) -> list[str]:
    """The fields of a column in the first rows, as they are written."""
    at = source.header.names.index(column)
    return [row[at] for row in _sample(source.header) if len(row) > at]


def _sample(header: Header) -> list[list[str]]:
    """The fields of the first rows."""
    with header.text.path.open(encoding="utf-8", errors="replace", newline="") as text:
        rows = csv_rows(text, header.delimiter, header.text.quote)
        try:
            return list(islice(rows, 0 if header.text.names else 1, _SAMPLE_ROWS))
        except csv.Error:
            return []
