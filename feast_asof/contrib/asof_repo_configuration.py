"""What Feast's universal tests need to run against this store: FULL_REPO_CONFIGS_MODULE names this file.

It stands on the creators of Feast's own tests (`sdk/python/tests`), which no distribution of Feast holds: a
checkout's have to be importable. `run_universal_tests.py` beside it sees to that.
"""

from tests.universal.feature_repos.universal.data_sources.file import (
    DeltaFileSourceCreator,
    FileDataSourceCreator,
    FileParquetDatasetSourceCreator,
    RemoteOfflineStoreDataSourceCreator,
)

from feast_asof import AsOfOfflineStoreConfig


class AsOfDataSourceCreator(FileDataSourceCreator):
    """Each source is one parquet file."""

    def create_offline_store_config(self) -> AsOfOfflineStoreConfig:
        """Of the store under test."""
        return AsOfOfflineStoreConfig()


class AsOfParquetDatasetSourceCreator(FileParquetDatasetSourceCreator):
    """Each source is a folder of parquet files."""

    def create_offline_store_config(self) -> AsOfOfflineStoreConfig:
        """Of the store under test."""
        return AsOfOfflineStoreConfig()


class AsOfDeltaSourceCreator(DeltaFileSourceCreator):
    """Each source is a Delta table; needs the extra delta."""

    def create_offline_store_config(self) -> AsOfOfflineStoreConfig:
        """Of the store under test."""
        return AsOfOfflineStoreConfig()


class AsOfRemoteDataSourceCreator(RemoteOfflineStoreDataSourceCreator, AsOfDataSourceCreator):
    """One parquet file a source, behind `feast serve_offline`.

    Feast's creator takes the server's store from the class after it in the order of its bases: the one above.
    """


AVAILABLE_OFFLINE_STORES = [
    ("local", AsOfDataSourceCreator),
    ("local", AsOfParquetDatasetSourceCreator),
    ("local", AsOfDeltaSourceCreator),
    ("local", AsOfRemoteDataSourceCreator),
]
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}
