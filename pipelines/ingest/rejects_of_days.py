"""Writes the rejects of a raw file whose table is a folder of days."""

import polars as pl

from pipelines.ingest.output import rejects_path
from pipelines.ingest.plan import Plan
from pipelines.ingest.refusals import refuse_too_many
from pipelines.ingest.reject_columns import LINE
from pipelines.ingest.sources import Source
from pipelines.ingest.summary import located
from pipelines.ingest.tables import with_raw_text
from pipelines.ingest.work import Work


def write_rejects(
    plan: Plan,
    source: Source,
    rejects: list[pl.DataFrame],
    repeated: list[pl.DataFrame],
    *,
    rows: int,
    work: Work,
) -> pl.DataFrame:
    """Write a raw file's rejects, earlier ones included if only new lines were read; returns them, by line.

    Args:
        rejects: of the lines that were read.
        repeated: of each day, the lines of rows that are already in the table (line, reason).
        rows: of the raw file that are in the table.

    Raises:
        InputError: too many rows are rejected.
    """
    found = list(rejects)
    if repeated:
        found.append(with_raw_text(pl.concat(repeated).sort(LINE), source))
    path = rejects_path(work.output.rejects, plan.path)
    if plan.before is not None and path.is_file():
        found.append(pl.read_parquet(path))
    of_file = pl.concat(found).sort(LINE)
    refuse_too_many(source, of_file, rows, path, work.settings.data)
    if of_file.height:
        located(of_file, source).write_parquet(work.output.new(path))
    return of_file
