"""An entity dataframe given as SQL: DuckDB runs the query over the repository's sources.

A query may name a source; a feature view, with the column names of its field mapping; or a file that DuckDB
can read (`FROM 'events.parquet'`). A relative path counts from the repository.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pyarrow as pa
from feast.data_source import DataSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feast_asof.errors import AsOfError
from feast_asof.lake_tables import ScannedRows
from feast_asof.sources import open_source

WHAT = "entity dataframe"
# How a query begins, after comments and parentheses.
QUERY = re.compile(
    r"""(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|from|values|pivot|table)(?=[\s("'*])""",
    re.IGNORECASE | re.DOTALL,
)


def is_sql(entity_df: object) -> bool:
    """Whether it is a query rather than a path."""
    return isinstance(entity_df, str) and bool(QUERY.match(entity_df))


def run_sql(query: str, config: RepoConfig, registry: BaseRegistry, project: str) -> pa.Table:
    """The rows of a query. Raises AsOfError without DuckDB, and if the query fails or returns no table."""
    try:
        duckdb: Any = import_module("duckdb")
    except ModuleNotFoundError:
        raise AsOfError(
            f"{WHAT}: is SQL, which needs duckdb; `pip install duckdb`, or give a table or a path."
        ) from None
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # Names are those of the repository, not of whatever variables of Python are around.
        connection.execute("SET python_enable_replacements = false")
        if config.repo_path:
            folder = str(config.repo_path).replace("'", "''")
            connection.execute(f"SET file_search_path = '{folder}'")
        for name, source, mapped in _named_in(query, registry, project):
            _add(connection, config, name, source, mapped=mapped)
        found = connection.sql(query)
        if found is None:
            raise AsOfError(f"{WHAT}: the SQL returns no rows; it has to be a query.")
        return found.to_arrow_table()
    except duckdb.Error as error:
        raise AsOfError(f"{WHAT}: the SQL cannot be run: {error}") from None
    finally:
        connection.close()


def _named_in(query: str, registry: BaseRegistry, project: str) -> Iterator[tuple[str, DataSource, bool]]:
    """The sources and views that a query may mean, each name once: views go before sources."""
    text = query.lower()
    sources = {source.name: (source, False) for source in registry.list_data_sources(project)}
    sources |= {
        view.name: (view.batch_source, True)
        for view in registry.list_all_feature_views(project)
        if getattr(view, "batch_source", None) is not None
    }
    for name, (source, mapped) in sources.items():
        if name.lower() in text:
            batch = getattr(source, "batch_source", None) or source
            yield name, batch, mapped


def _add(connection: Any, config: RepoConfig, name: str, source: DataSource, *, mapped: bool) -> None:
    opened = open_source(config, source, what=f"{WHAT}, {name}")
    # DuckDB reads a dataset as it needs it, but knows of no other library's tables.
    rows = opened.dataset
    if isinstance(rows, ScannedRows):
        rows = rows.to_table()
    raw = f"{name} as stored"
    connection.register(raw, rows)
    new_names = {old: new for new, old in opened.original.items()} if mapped else {}
    columns = ", ".join(
        f"{_quoted(column)} AS {_quoted(new_names.get(column, column))}" for column in rows.schema.names
    )
    connection.execute(f"CREATE TEMP VIEW {_quoted(name)} AS SELECT {columns} FROM {_quoted(raw)}")


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
