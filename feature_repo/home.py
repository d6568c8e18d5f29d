"""The registry and the online store of Feast, put below nightreel's home instead of the repository."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Literal

import yaml
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig, RepoConfig, load_repo_config
from pydantic import Field

from nightreel.settings import Settings, load_settings

REPOSITORY = Path(__file__).resolve().parent
_POSTGRESQL_STORES = ("postgres", "feature_repo.postgresql.PostgreSQLAsOfOfflineStore")

# `feast -c <path>/feature_repo apply` reads its configuration, and so this module, where the user stands, and
# only then changes into the repository.
_STARTED_IN = Path.cwd()
_working_on: list[Settings] = []


@contextmanager
def working_on(settings: Settings) -> Iterator[None]:
    """Have Feast work on the home of these settings until the block ends, whatever the environment says."""
    _working_on.append(settings)
    try:
        yield
    finally:
        _working_on.pop()


def current_settings() -> Settings:
    """The settings as `nightreel` itself would find them, also where Feast has changed the current folder.

    Raises InputError for a bad setting.
    """
    if _working_on:
        return _working_on[-1]
    if Path.cwd() == REPOSITORY and _STARTED_IN.is_dir():
        with chdir(_STARTED_IN):
            return load_settings()
    return load_settings()


def store_file() -> Path:
    """The feature_store.yaml in force: Feast's own variable names another than the repository's."""
    named = os.environ.get("FEAST_FS_YAML_FILE_PATH")
    return Path(named) if named else REPOSITORY / "feature_store.yaml"


def repo_config() -> RepoConfig:
    """What that file says."""
    return load_repo_config(REPOSITORY, store_file())


def features_in_postgresql() -> bool:
    """Whether the offline store's tables lie in PostgreSQL."""
    if not os.environ.get("FEAST_FS_YAML_FILE_PATH"):
        return False
    said = yaml.safe_load(store_file().read_text(encoding="utf-8")) or {}
    offline = said.get("offline_store")
    return (offline.get("type") if isinstance(offline, dict) else offline) in _POSTGRESQL_STORES


class HomeRegistryStore(FileRegistryStore):  # type: ignore[misc]
    """Feast's registry file at `<home>/data/registry.db`; the path of the configuration is not used."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._filepath = current_settings().paths.registry

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Write the registry; the home's folder is made where it is missing."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        super().update_registry_proto(registry_proto)


class HomeSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]
    """Feast's SQLite online store at `<home>/data/online_store.db`."""

    type: Literal["feature_repo.home.HomeSqliteOnlineStore"] = "feature_repo.home.HomeSqliteOnlineStore"
    path: str = Field(default_factory=lambda: str(current_settings().paths.online_store))


class HomeSqliteOnlineStore(SqliteOnlineStore):  # type: ignore[misc]
    """Feast's SQLite online store; the folder of the file is made where it is missing."""

    @staticmethod
    def _get_db_path(config: RepoConfig) -> str:
        path: str = config.online_store.path
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return path
