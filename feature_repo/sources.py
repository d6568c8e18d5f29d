"""The parquet files behind the views, below the home that the settings name."""

from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource

from feature_repo.entities import OWNER
from feature_repo.home import current_settings, features_in_postgresql
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.entries import View
from nightreel.core.settings import Paths


def table_name(view: str) -> str:
    """The view's table if features are in PostgreSQL."""
    return f"feature_{view}"


def source_of(view: View, paths: Paths) -> DataSource:
    """The data source of a stored view: its parquet or its table in PostgreSQL."""
    if features_in_postgresql():
        # Needs a driver that nothing else here does.
        from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

        return PostgreSQLSource(
            name=f"{view.name}_source",
            table=table_name(view.name),
            timestamp_field=columns.EVENT_TIMESTAMP,
            description=view.source,
            owner=OWNER,
        )
    return FileSource(
        name=f"{view.name}_source",
        path=str(paths.feature_source(view.name)),
        file_format=ParquetFormat(),
        timestamp_field=columns.EVENT_TIMESTAMP,
        description=view.source,
        owner=OWNER,
    )


_paths = current_settings().paths
SOURCES: dict[str, DataSource] = {view.name: source_of(view, _paths) for view in BUILTIN.stored}


def point_sources_at(paths: Paths) -> None:
    """Point every source of nightreel's own views at another home: for a process that works on more than one.

    The views of a home's own modules are created for each home.
    """
    for view, source in SOURCES.items():
        if isinstance(source, FileSource):
            source.file_options.uri = str(paths.feature_source(view))
