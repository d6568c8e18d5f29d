"""Writes lists to one file, CSV, JSON lines or Parquet, to be compared, loaded or kept elsewhere."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Connection, Double, Integer, String, Table, Text

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.core.steps import StepResult
from scoring.database.connection import reading
from scoring.database.id_columns import Id, are_text
from scoring.database.kept_runs import require_lists, run_or_shown
from scoring.database.schema import require_current
from scoring.database.shared_lists import TABLES, whole_lists
from scoring.database.show_shared import require_kind
from scoring.database.tables import recommendation
from scoring.database.url import database_url, masked
from scoring.exporting.facts import ExportFacts
from scoring.exporting.reading import CHANGE, Rows, changes, lists_by_user

_ROWS_AT_A_TIME = 100_000
_TYPES = {
    BigInteger: pa.int64(),
    Integer: pa.int32(),
    Double: pa.float64(),
    String: pa.string(),
    Text: pa.string(),
}


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...
    def close(self) -> None: ...


class _JsonLines:
    """An object a row, as pyarrow's own writers are used."""

    def __init__(self, path: str, schema: pa.Schema) -> None:  # noqa: ARG002
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115

    def write_table(self, table: pa.Table) -> None:
        self._file.writelines(f"{json.dumps(row)}\n" for row in table.to_pylist())

    def close(self) -> None:
        self._file.close()


_WRITERS = {
    ".csv": pyarrow.csv.CSVWriter,
    ".jsonl": _JsonLines,
    ".parquet": pq.ParquetWriter,
}


def export(
    settings: DatabaseNeeds, file: Path, run_id: int | None, *, since: int | None = None
) -> StepResult[ExportFacts]:
    """Write a run's rows to a file, by user and rank; the file's suffix decides its format.

    Args:
        file: replaced only once the new one is complete.
        run_id: by default the run that apps read.
        since: another run; then only users whose videos or order differ from that run are written, with a
            column `change`.

    Raises:
        InputError: the suffix is unknown, or a run has no lists.
        NightreelError: the file cannot be written.
    """
    _require_name(file)
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first, or name a --run.")
        if since is not None:
            require_lists(connection, since)
        schema = _schema(connection, recommendation, with_change=since is not None)
        users = rows = 0
        with _opened(file, schema) as writer:
            for part in _parts(_rows_of_users(connection, run.run_id, since)):
                users += len({row[1] for row in part})
                rows += len(part)
                _write(writer, part, schema)
    facts = ExportFacts(
        run_id=run.run_id,
        status=run.status,
        since=since,
        users=users,
        rows=rows,
        database=masked(database_url(settings)),
    )
    return StepResult("export", False, (), (file,), facts)


def export_shared(
    settings: DatabaseNeeds, file: Path, run_id: int | None, kind: str
) -> StepResult[ExportFacts]:
    """Write a run's `related` lists, by video and rank, or `popular` lists, by segment, to a file.

    Raises:
        InputError: the run has no lists of this kind.
    """
    _require_name(file)
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first, or name a --run.")
        require_kind(connection, kind, run.run_id)
        schema = _schema(connection, TABLES[kind])
        rows = 0
        with closing(whole_lists(connection, run.run_id, kind)) as parts, _opened(file, schema) as writer:
            for part in parts:
                rows += part.height
                writer.write_table(part.to_arrow().cast(schema))
    facts = ExportFacts(
        run_id=run.run_id, status=run.status, lists=kind, rows=rows, database=masked(database_url(settings))
    )
    return StepResult("export", False, (), (file,), facts)


def _require_name(file: Path) -> None:
    if file.suffix.lower() not in _WRITERS:
        raise InputError(
            f"{file}: its ending is not one of {', '.join(_WRITERS)}.", "Name the file like lists.csv."
        )
    if file.is_dir():
        raise InputError(f"{file}: a folder.", "Name a file.")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: no such folder.", "Make it, or name another.")


@contextmanager
def _opened(file: Path, schema: pa.Schema) -> Iterator[_Writer]:
    """A writer of the file, which appears once it is complete."""
    try:
        with (
            atomic_write(file) as temporary,
            closing(_WRITERS[file.suffix.lower()](str(temporary), schema)) as writer,
        ):
            yield writer
    except OSError as error:
        raise NightreelError(f"{file}: {error.strerror or error}.", "Choose another file.") from error


def _rows_of_users(connection: Connection, run_id: int, since: int | None) -> Iterator[Rows]:
    if since is not None:
        return changes(connection, run_id, since)
    return (rows for _, (rows,) in lists_by_user(connection, (run_id,)))


def _parts(lists: Iterable[Rows]) -> Iterator[Rows]:
    """Whole lists, many at a time."""
    waiting: Rows = []
    for rows in lists:
        waiting += rows
        if len(waiting) >= _ROWS_AT_A_TIME:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _write(writer: _Writer, rows: Rows, schema: pa.Schema) -> None:
    arrays = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    writer.write_table(pa.table(arrays, schema=schema))


def _schema(connection: Connection, table: Table, *, with_change: bool = False) -> pa.Schema:
    """The table's columns; ids as this database has them. A user who is gone has no video."""
    fields = []
    for one in table.columns:
        kind: type = type(one.type)
        if isinstance(one.type, Id):
            kind = Text if are_text(connection, table, one.name) else BigInteger
        fields.append(pa.field(one.name, _TYPES[kind], nullable=bool(one.nullable) or with_change))
    return pa.schema([*fields, pa.field(CHANGE, pa.string(), nullable=False)] if with_change else fields)
