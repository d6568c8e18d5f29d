"""The parquet files behind the views, below the home that the settings name."""

from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource

from feature_repo.entities import OWNER
from feature_repo.home import current_settings, features_in_postgresql
from nightreel import columns
from nightreel.settings import Paths

_DESCRIPTIONS = {
    columns.USER_PROFILE: "The user file, always known.",
    columns.USER_ACTIVITY: "What each user had played by the end of each day of theirs.",
    columns.VIDEO_PROFILE: "Categories, always known; the rest from the end of the day that told it.",
    columns.VIDEO_TEXT: "Reduced TF-IDF of each video's text, from the first ALS refit on.",
    columns.VIDEO_DAILY_POPULARITY: "Daily counts of each video, from the end of their day on.",
    columns.VIDEO_ENGAGEMENT: "How each video had been received by the end of each day with plays.",
    columns.USER_FACTORS: "ALS factors of users, from the cutoff of each refit on.",
    columns.VIDEO_FACTORS: "ALS factors of videos, from the cutoff of each refit on.",
}


def table_name(view: str) -> str:
    """The view's table where features lie in PostgreSQL."""
    return f"feature_{view}"


def _source(view: str, paths: Paths) -> DataSource:
    if features_in_postgresql():
        # Needs a driver that nothing else here does.
        from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

        return PostgreSQLSource(
            name=f"{view}_source",
            table=table_name(view),
            timestamp_field=columns.EVENT_TIMESTAMP,
            description=_DESCRIPTIONS[view],
            owner=OWNER,
        )
    return FileSource(
        name=f"{view}_source",
        path=str(paths.feature_source(view)),
        file_format=ParquetFormat(),
        timestamp_field=columns.EVENT_TIMESTAMP,
        description=_DESCRIPTIONS[view],
        owner=OWNER,
    )


_paths = current_settings().paths
SOURCES = {view: _source(view, _paths) for view in _DESCRIPTIONS}


def place_sources(paths: Paths) -> None:
    """Point every source at another home: for a process that works on more than one."""
    for view, source in SOURCES.items():
        if isinstance(source, FileSource):
            source.file_options.uri = str(paths.feature_source(view))
