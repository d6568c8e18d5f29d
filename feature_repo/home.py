"""The registry and the online store of Feast, put below nightreel's home instead of the repository.

Paths in the registry file are relative to the home: a home that is copied, moved or restored elsewhere
reads its own files.
"""

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal

import yaml
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.DataSource_pb2 import DataSource
from feast.protos.feast.core.FeatureView_pb2 import FeatureView
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureView
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.core.SqliteTable_pb2 import SqliteTable
from feast.repo_config import RegistryConfig, RepoConfig, load_repo_config
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from pydantic import Field

from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import require_as_written
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.printing import print_error
from nightreel.core.settings import (
    ENVIRONMENT_PREFIX,
    SETTINGS_FILE,
    Paths,
    Settings,
    find_settings_file,
    load_settings,
    settings_of_home,
)
from nightreel.core.settings.needs import FeatureNeeds

REPOSITORY: Path = Path(__file__).resolve().parent
_KINDS = {"feature_view": FeatureView, "on_demand_feature_view": OnDemandFeatureView}
_POSTGRESQL_STORES = ("postgres", "feature_repo.postgresql.PostgreSQLAsOfOfflineStore")

# `feast -c <path>/feature_repo apply` reads its configuration, and so imports this module, in the user's
# current folder, and only then changes into the repository.
_STARTED_IN = Path.cwd()
# Where `make demo` puts its home.
_DEMO = REPOSITORY.parent / "demo"
_working_on: list[FeatureNeeds] = []


def _say_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report what stops the `feast` command as `nightreel` does, in one line with its exit code."""
    if isinstance(error, NightreelError):
        print_error(str(error))
        sys.exit(error.exit_code)
    sys.__excepthook__(kind, error, trace)


if Path(sys.argv[0]).stem == "feast":
    sys.excepthook = _say_in_one_line


@contextmanager
def working_on(settings: FeatureNeeds) -> Iterator[None]:
    """Let Feast work on the home of these settings until the block ends, regardless of the environment."""
    _working_on.append(settings)
    try:
        yield
    finally:
        _working_on.pop()


def current_settings() -> FeatureNeeds:
    """The settings as `nightreel` itself would find them, also where Feast has changed the current folder.

    Raises:
        InputError: for a bad setting.
    """
    if _working_on:
        return _working_on[-1]
    if Path.cwd() == REPOSITORY and _STARTED_IN.is_dir():
        with chdir(_STARTED_IN):
            return _own_or_demo_settings()
    return load_settings()


def _own_or_demo_settings() -> Settings:
    """The settings of the current folder; the demo's in a clone for which no home is set.

    So `cd feature_repo && feast apply` works after `make demo` without a variable.
    """
    is_named = any(name.upper() == f"{ENVIRONMENT_PREFIX}HOME" for name in os.environ)
    in_clone = Path.cwd().is_relative_to(REPOSITORY.parent)
    if is_named or not in_clone or find_settings_file(Path.cwd()) is not None or not _demo_is_there():
        return load_settings()
    return settings_of_home(_DEMO)


def _demo_is_there() -> bool:
    return (_DEMO / SETTINGS_FILE).is_file()


def store_file() -> Path:
    """The feature_store.yaml in force: Feast's own variable names another than the repository's."""
    named = os.environ.get("FEAST_FS_YAML_FILE_PATH")
    return Path(named) if named else REPOSITORY / "feature_store.yaml"


def repo_config() -> RepoConfig:
    """The configuration in that file."""
    return load_repo_config(REPOSITORY, store_file())


def features_in_postgresql() -> bool:
    """Whether the offline store's tables are in PostgreSQL."""
    if not os.environ.get("FEAST_FS_YAML_FILE_PATH"):
        return False
    said = yaml.safe_load(store_file().read_text(encoding="utf-8")) or {}
    offline = said.get("offline_store")
    return (offline.get("type") if isinstance(offline, dict) else offline) in _POSTGRESQL_STORES


class HomeRegistryStore(FileRegistryStore):  # type: ignore[misc]
    """Feast's registry file at `<home>/data/registry.db`; the path of the configuration is not used."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._paths = current_settings().paths
        self._filepath = self._paths.registry
        self._read: tuple[bytes, Registry] | None = None

    def get_registry_proto(self) -> Registry:
        """The registry, its paths below this home.

        Raises:
            InputError: if the file is damaged.
        """
        require_as_written([self._filepath])
        if not self._filepath.exists():
            # Feast's own error says it.
            return super().get_registry_proto()
        # Feast asks for every view dozens of times in a step, nearly always of the same file.
        content = self._filepath.read_bytes()
        if self._read is None or self._read[0] != content:
            self._read = (content, self._parsed(content))
        registry = Registry()
        registry.CopyFrom(self._read[1])
        # Feast's caches identify a registry by its address in memory and this id, which a copied home shares.
        registry.version_id = str(uuid.uuid4())
        return registry

    def _parsed(self, content: bytes) -> Registry:
        registry = Registry()
        try:
            registry.ParseFromString(content)
        except DecodeError:
            raise InputError(
                f"{self._filepath}: damaged: not a Feast registry.",
                "Remove it, then run `cd feature_repo && feast apply`.",
            ) from None
        _put_below_home(registry, self._paths)
        for record in registry.feature_view_version_history.records:
            # Feast keeps each earlier version of a view as bytes.
            if kind := _KINDS.get(record.feature_view_type):
                version = kind.FromString(record.feature_view_proto)
                if _put_below_home(version, self._paths):
                    record.feature_view_proto = version.SerializeToString()
        return registry

    def _write_registry(self, registry_proto: Registry) -> None:
        """Put the registry into the home, whole, with paths relative to it."""
        stored = Registry()
        stored.CopyFrom(registry_proto)
        for message, field in _path_fields(stored):
            path = PurePath(getattr(message, field))
            if path.is_relative_to(self._paths.home):
                setattr(message, field, path.relative_to(self._paths.home).as_posix())
        with atomic_write(self._filepath, checksum=True) as temporary:
            # Feast stamps what it writes: the same stamp for the copy that Feast keeps in memory.
            self._filepath, final = temporary, self._filepath
            try:
                super()._write_registry(stored)
            finally:
                self._filepath = final
        registry_proto.version_id = stored.version_id
        registry_proto.last_updated.CopyFrom(stored.last_updated)


def _put_below_home(message: Message, paths: Paths) -> bool:
    """Change every path in the message to one of this home; return whether any was changed."""
    changed = False
    for part, field in _path_fields(message):
        stored = getattr(part, field)
        own = below_home(stored, paths)
        setattr(part, field, own)
        changed |= own != stored
    return changed


def below_home(stored: str, paths: Paths) -> str:
    """A registry's path, moved into this home; a path outside of any home stays as it is.

    Registries of earlier versions hold absolute paths, perhaps of the home that this one was copied from:
    the file of this name in this home is meant.
    """
    if not stored or "://" in stored:
        return stored
    path = PurePath(stored)
    features, online_store = (
        one.relative_to(paths.home).parts for one in (paths.features, paths.online_store)
    )
    if path.parent.parts[-len(features) :] == features:
        return str(paths.features / path.name)
    if path.parts[-len(online_store) :] == online_store:
        return str(paths.online_store)
    return str(paths.home / path)


def _path_fields(message: Message) -> Iterator[tuple[Any, str]]:
    """Each message within a registry that holds a path, with the name of its field."""
    if isinstance(message, DataSource.FileOptions):
        yield message, "uri"
    elif isinstance(message, SqliteTable):
        yield message, "path"
    for field, value in message.ListFields():
        # Most of a registry are the fields of its views.
        if field.message_type is None or not _may_hold_paths(field.message_type):
            continue
        parts = value.values() if isinstance(value, Mapping) else value
        for part in [parts] if isinstance(parts, Message) else parts:
            if isinstance(part, Message):
                yield from _path_fields(part)


@cache
def _may_hold_paths(kind: Descriptor) -> bool:
    """Whether a message of this kind may hold a path, itself or in any part of it."""
    seen: set[str] = set()
    left = [kind]
    while left:
        one = left.pop()
        if one.full_name not in seen:
            seen.add(one.full_name)
            left += [field.message_type for field in one.fields if field.message_type is not None]
    return not seen.isdisjoint(
        {DataSource.FileOptions.DESCRIPTOR.full_name, SqliteTable.DESCRIPTOR.full_name}
    )


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
