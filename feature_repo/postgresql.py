"""An offline store whose tables are in PostgreSQL; each is written as a whole, the as-of store joins them.

Each view's table is filled from its parquet in one transaction, and carries a version. A join first copies
each new version of a table to a parquet below the home, and then runs as with files; Feast's own `postgres`
store can read the same tables. Chosen by `feature_store.postgresql.yaml`, see docs/postgresql.md.
"""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.infra.utils.postgres.connection_utils import _get_conn
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from feast.repo_config import RepoConfig
from psycopg import sql

from feast_asof import AsOfRetrievalJob
from feature_repo.home import current_settings, repo_config
from feature_repo.offline_store import HomeAsOfOfflineStore
from feature_repo.sources import SOURCES, table_name
from nightreel.core.artefacts import atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.checksums import is_usable, remove_with_checksum, require_as_written
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Paths

_VERSIONS = "feature_table"
_COLUMN_TYPES: dict[Any, str] = {
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.String: "text",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamptz",
}
_POLARS_TYPES: dict[str, Any] = {
    "int8": pl.Int64,
    "int4": pl.Int32,
    "float4": pl.Float32,
    "float8": pl.Float64,
    "text": pl.String,
    "bool": pl.Boolean,
    "date": pl.Date,
    "timestamptz": pl.Datetime("us", "UTC"),
    "_int4": pl.List(pl.Int32),
    "_float4": pl.List(pl.Float32),
}


class PostgreSQLAsOfOfflineStoreConfig(PostgreSQLConfig):  # type: ignore[misc]
    """`offline_store:` of feature_store.postgresql.yaml: where the database is."""

    type: Literal["feature_repo.postgresql.PostgreSQLAsOfOfflineStore"] = (
        "feature_repo.postgresql.PostgreSQLAsOfOfflineStore"
    )
    codes: bool = False


class PostgreSQLAsOfOfflineStore(HomeAsOfOfflineStore):
    """The as-of store over tables in PostgreSQL."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | Path | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **more: Any,
    ) -> AsOfRetrievalJob:
        """Like the as-of store's, with its errors; NightreelError if the tables cannot be read."""
        local = [copy.copy(view) for view in feature_views]
        for view in local:
            view.batch_source = _local(config, view.batch_source)
        return HomeAsOfOfflineStore.get_historical_features(
            config, local, feature_refs, entity_df, registry, project, full_feature_names, **more
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *arguments: Any, **more: Any
    ) -> RetrievalJob:
        """Like the as-of store's."""
        return HomeAsOfOfflineStore.pull_latest_from_table_or_query(
            config, _local(config, data_source), *arguments, **more
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *arguments: Any, **more: Any
    ) -> RetrievalJob:
        """Like the as-of store's."""
        return HomeAsOfOfflineStore.pull_all_from_table_or_query(
            config, _local(config, data_source), *arguments, **more
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Refused: the tables are written whole, from the parquet sources."""
        raise InputError(
            f"{feature_view.name}: its table in PostgreSQL is written by nightreel alone.",
            "Run `nightreel features`.",
        )


def fill_tables(paths: Paths, views: Iterable[str] = tuple(SOURCES)) -> list[str]:
    """Write each changed parquet of a view to its table; returns the names of the views that were written.

    Each in one transaction, so readers see the table before or after. Views without a parquet are left out.
    """
    written = []
    with _connected(repo_config()) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {_VERSIONS} (name text PRIMARY KEY, version text NOT NULL)"
        )
        connection.commit()
        for view in views:
            source = paths.feature_source(view)
            if not source.is_file():
                continue
            name, version = table_name(view), fingerprint(file=fingerprint_of_files([source]))
            if _version(connection, name) != version:
                require_as_written([source])
                _fill(connection, name, pl.read_parquet(source))
                connection.execute(
                    f"INSERT INTO {_VERSIONS} VALUES (%s, %s) "
                    "ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                    (name, version),
                )
                written.append(name)
            connection.commit()
    return written


def _fill(connection: psycopg.Connection[Any], name: str, frame: pl.DataFrame) -> None:
    table = sql.Identifier(name)
    types = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(_column_type(kind)))
        for column, kind in frame.schema.items()
    ]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(types)))
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as into:
        for row in frame.iter_rows():
            into.write_row(row)


def _column_type(kind: pl.DataType) -> str:
    if isinstance(kind, pl.List):
        return f"{_COLUMN_TYPES[kind.inner.base_type()]}[]"
    return _COLUMN_TYPES[kind.base_type()]


def _local(config: RepoConfig, source: DataSource | None) -> FileSource:
    """The source's table, in its current version, as a parquet file below the home."""
    name = source.get_table_query_string().strip('"') if isinstance(source, PostgreSQLSource) else ""
    if source is None or not name:
        raise InputError(
            f"{source.name if source else 'a view'}: its source is not a PostgreSQL table.",
            "Run `feast apply` again with FEAST_FS_YAML_FILE_PATH set to feature_store.postgresql.yaml.",
        )
    with _connected(config) as connection:
        version = _version(connection, name)
        if version is None:
            raise InputError(f"Table {name}: not there yet.", "Run `nightreel features`.")
        folder = current_settings().paths.data / "features_from_postgresql"
        file = folder / f"{name}-{version}.parquet"
        if not file.is_file() or not is_usable(file):
            frame = _take_out(connection, name)
            with atomic_write(file, checksum=True) as temporary:
                frame.write_parquet(temporary)
            for old in folder.glob(f"{name}-*.parquet"):
                if old != file:
                    remove_with_checksum(old)
    return FileSource(
        name=source.name,
        path=str(file),
        file_format=ParquetFormat(),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )


def _take_out(connection: psycopg.Connection[Any], name: str) -> pl.DataFrame:
    with connection.cursor(name="take_out") as cursor:
        cursor.itersize = 50_000
        cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))
        described = cursor.description or []
        types = psycopg.adapters.types
        schema = {}
        for column in described:
            kind = types.get(column.type_code)
            is_array = kind is not None and kind.array_oid == column.type_code
            schema[column.name] = _POLARS_TYPES[("_" if is_array else "") + (kind.name if kind else "")]
        return pl.DataFrame(cursor.fetchall(), schema=schema, orient="row")


def _version(connection: psycopg.Connection[Any], name: str) -> str | None:
    if connection.execute("SELECT to_regclass(%s)", (_VERSIONS,)).fetchone() == (None,):
        return None
    found = connection.execute(f"SELECT version FROM {_VERSIONS} WHERE name = %s", (name,)).fetchone()
    return None if found is None else str(found[0])


def _connected(config: RepoConfig) -> psycopg.Connection[Any]:
    try:
        return _get_conn(config.offline_store)  # type: ignore[no-any-return]
    except psycopg.Error as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise NightreelError(
            f"Feast's database cannot be reached: {said.rstrip('.')}.",
            "Feast sends options that PgBouncer refuses: name PostgreSQL itself in PGHOST and PGPORT."
            if "unsupported startup parameter" in said
            else "Check PGHOST, PGPORT, PGUSER, PGPASSWORD.",
        ) from error
