"""The lists that are not a user's: written to tables, read back list by list, with remarks on short ones.

Whose rows these are, and what orders them, is in `scoring.lists.shared`.
"""

from collections.abc import Generator, Sequence
from contextlib import closing

import polars as pl
from sqlalchemy import URL, Connection, Table, select

from nightreel.core import columns
from nightreel.core.ids import ListIds
from pipelines.backtest_files import POPULAR, RELATED
from scoring.database import bulk_rows
from scoring.database.bulk_rows import ReadyRows, StoredRows
from scoring.database.id_columns import Id, schema_of
from scoring.database.tables import popular_recommendation, related_recommendation
from scoring.lists.shared.rows import KEYS, SharedCounts

TABLES: dict[str, Table] = {RELATED: related_recommendation, POPULAR: popular_recommendation}
_ROWS_AT_A_TIME = 50_000
_OF_ONE = {RELATED: "related videos", POPULAR: "popular videos"}
_WHY_SHORT = {
    RELATED: "too little is played together with their video, or no text is like its",
    POPULAR: "too few videos were liked on the days that have ended",
}


def ready_shared(url: URL, run_id: int, kind: str, rows: pl.DataFrame, ids: ListIds) -> ReadyRows:
    """Lay rows of a run out for the database; codes are replaced by the log's ids."""
    table = TABLES[kind]
    named = rows.with_columns(ids.video.named(rows[name].to_numpy()).alias(name) for name in _videos(table))
    return ReadyRows.of(url, table, run_id, named.to_arrow())


def audited_parts(
    connection: Connection, run_id: int, kind: str, ids: ListIds
) -> Generator[pl.DataFrame, None, None]:
    """A run's committed rows by list and rank, in blocks of whole lists; close it if not all are read."""
    with closing(bulk_rows.whole_lists(connection, StoredRows.of(TABLES[kind], run_id, ids))) as parts:
        for part in parts:
            yield pl.DataFrame(part)


def _videos(table: Table) -> list[str]:
    """The columns with ids of videos."""
    return [column.name for column in table.columns if isinstance(column.type, Id)]


def whole_lists(connection: Connection, run_id: int, kind: str) -> Generator[pl.DataFrame, None, None]:
    """The same by the connection itself, as its transaction sees it, a row at a time."""
    table = TABLES[kind]
    key = [*KEYS[kind]]
    schema = schema_of(connection, table)
    query = select(table).where(table.c[columns.RUN_ID] == run_id)
    query = query.order_by(*(table.c[name] for name in (*key, columns.RANK)))
    waiting = pl.DataFrame(schema=schema)
    with connection.execute(query.execution_options(yield_per=_ROWS_AT_A_TIME)) as result:
        for rows in result.partitions():
            found = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
            both = pl.concat([waiting, found])
            is_last = both.select(pl.struct(key) == pl.struct(key).last()).to_series()
            if whole := both.filter(~is_last).height:
                yield both.head(whole)
            waiting = both.tail(both.height - whole)
    if waiting.height:
        yield waiting


def shortages(counts: Sequence[SharedCounts]) -> list[str]:
    """A line for each kind with lists shorter than k."""
    return [
        f"{one.short_lists} of {one.lists} lists of {_OF_ONE[one.kind]} have fewer than {one.k}: "
        f"{_WHY_SHORT[one.kind]}."
        for one in counts
        if one.short_lists
    ]
