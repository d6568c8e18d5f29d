"""Writes all lists of a run to one file, CSV or Parquet, to be compared or kept elsewhere."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Connection, Double, Integer, String, Text, select

from nightreel.core import columns
from nightreel.core.artefacts import StepResult, atomic_write
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import database_url, masked, reading
from scoring.database.id_columns import Id, are_text
from scoring.database.kept_runs import run_or_shown
from scoring.database.schema import require_current
from scoring.database.tables import recommendation

_ROWS_AT_A_TIME = 100_000
_CSV, _PARQUET = ".csv", ".parquet"
_TYPES = {
    BigInteger: pa.int64(),
    Integer: pa.int32(),
    Double: pa.float64(),
    String: pa.string(),
    Text: pa.string(),
}


def _schema(connection: Connection) -> pa.Schema:
    """The table's columns; ids as this database has them."""
    fields = []
    for one in recommendation.columns:
        is_id = isinstance(one.type, Id)
        kind: type = type(one.type)
        if is_id:
            kind = Text if are_text(connection, recommendation, one.name) else BigInteger
        fields.append(pa.field(one.name, _TYPES[kind], nullable=one.nullable))
    return pa.schema(fields)


def export(settings: Settings, file: Path, run_id: int | None) -> StepResult:
    """Write a run's rows, by user and rank, as the file's name says; by default those that apps read.

    Nothing stands at `file` before it is whole. Raises InputError for another kind of file, or a run that has
    no lists; NightreelError where the file cannot be written.
    """
    kind = file.suffix.lower()
    if kind not in (_CSV, _PARQUET):
        raise InputError(f"{file}: neither {_CSV} nor {_PARQUET}.", "Name the file like lists.csv.")
    if file.is_dir():
        raise InputError(f"{file}: a folder.", "Name a file.")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: no such folder.", "Make it, or name another.")
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first, or name a --run.")
        query = (
            select(recommendation)
            .where(recommendation.c[columns.RUN_ID] == run.run_id)
            .order_by(recommendation.c[columns.USER_ID], recommendation.c[columns.RANK])
            .execution_options(yield_per=_ROWS_AT_A_TIME)
        )
        schema = _schema(connection)
        open_writer = pyarrow.csv.CSVWriter if kind == _CSV else pq.ParquetWriter
        try:
            with atomic_write(file) as temporary, open_writer(str(temporary), schema) as writer:
                for part in connection.execute(query).partitions():
                    values = zip(zip(*part, strict=True), schema, strict=True)
                    arrays = [pa.array(column, field.type) for column, field in values]
                    writer.write_table(pa.table(arrays, schema=schema))
        except OSError as error:
            raise NightreelError(f"{file}: {error.strerror or error}.", "Choose another file.") from error
    database = masked(database_url(settings))
    summary = {"run_id": run.run_id, "status": run.status, "users": run.users, "rows": run.rows}
    return StepResult("export", False, (), (file,), summary | {"database": database})
