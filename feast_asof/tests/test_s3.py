"""Sources, results, rows added and logs on an S3 server, through the paths of Feast's own definitions."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage

from asof_fixtures.installed import module_or_skip
from asof_fixtures.s3 import BUCKET, served
from asof_fixtures.small_feature_repo import open_store, references_to, values
from asof_fixtures.written import ADDED, ASKED, STATS, logs_of_two
from feast_asof import AsOfError
from feast_asof.files import Location
from feast_asof.objects import rewrite_object

module_or_skip("moto")


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the server is, which Feast's definitions name; its credentials are those of the environment."""
    monkeypatch.chdir(tmp_path)
    with served() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment["AWS_ENDPOINT_URL"]


@pytest.fixture
def s3(endpoint: str) -> pyarrow.fs.FileSystem:
    return pyarrow.fs.S3FileSystem(endpoint_override=endpoint)


def _store(s3: pyarrow.fs.FileSystem, folder: Path, key: str, endpoint: str) -> FeatureStore:
    """A store whose source has this key: the rows of STATS, in one object."""
    store = open_store(folder, [STATS])
    path = f"{BUCKET}/{key}" if key.endswith(".parquet") else f"{BUCKET}/{key}/first.parquet"
    pq.write_table(pq.read_table(folder / "stats.parquet"), path, filesystem=s3)
    view = store.get_feature_view("stats")
    view.batch_source.file_options.uri = f"s3://{BUCKET}/{key}"
    view.batch_source.file_options.s3_endpoint_override = endpoint
    store.apply([view])
    return store


def _names(s3: pyarrow.fs.FileSystem, folder: str) -> list[str]:
    return [file.base_name for file in s3.get_file_info(pyarrow.fs.FileSelector(f"{BUCKET}/{folder}"))]


def test_rows_are_added_to_a_folder_of_objects(
    s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path
) -> None:
    """One object more; and no folder `s3:` here."""
    store = _store(s3, tmp_path, "stats", endpoint)
    store.write_to_offline_store("stats", ADDED)
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0, 2.0, 3.0]
    assert len(_names(s3, "stats")) == 2
    assert not (tmp_path / "s3:").exists()


def test_rows_are_added_to_one_object(s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path) -> None:
    """Which is the source itself; nothing else is left beside it."""
    store = _store(s3, tmp_path, "one/stats.parquet", endpoint)
    store.write_to_offline_store("stats", ADDED)
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0, 2.0, 3.0]
    assert _names(s3, "one") == ["stats.parquet"]


def test_a_writer_of_an_object_that_is_overtaken_begins_again(
    s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path
) -> None:
    """Rows that another writer adds in between are kept."""
    store = _store(s3, tmp_path, "stats.parquet", endpoint)
    others = iter([ADDED[:1], ADDED[:1].assign(user=4)])
    own = pa.Table.from_pandas(ADDED[1:], preserve_index=False)

    def overtaken(old: Path, new: Path) -> None:
        for rows in others:
            store.write_to_offline_store("stats", rows)
            break
        pq.write_table(pa.concat_tables([pq.read_table(old), own]), new)

    rewrite_object(Location(f"{BUCKET}/stats.parquet", s3), endpoint, overtaken, what="feature view stats")
    kept = pq.read_table(f"{BUCKET}/stats.parquet", filesystem=s3)
    assert sorted(kept["user"].to_pylist()) == [1, 1, 3, 4]


def test_an_object_is_not_rewritten_without_boto3(
    s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow alone cannot set the condition on which it may be replaced: refused, and nothing is lost."""
    store = _store(s3, tmp_path, "stats.parquet", endpoint)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(AsOfError, match="needs boto3; `pip install boto3`, or make it a folder"):
        store.write_to_offline_store("stats", ADDED)
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0, 1.0, None]


@pytest.mark.parametrize("key", ["saved.parquet", "saved"])
def test_a_result_is_persisted_there(
    s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path, key: str
) -> None:
    """As one object or a folder with one, which is there already the second time."""
    store = _store(s3, tmp_path, "only_read", endpoint)
    job = store.get_historical_features(entity_df=ASKED, features=["stats:score"])
    storage = SavedDatasetFileStorage(path=f"s3://{BUCKET}/{key}", s3_endpoint_override=endpoint)
    job.persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    saved = pq.read_table(f"{BUCKET}/{key}", filesystem=s3)
    assert saved["score"].to_pylist() == [1.0, 1.0, None]
    assert not (tmp_path / "s3:").exists()


def test_logs_are_added_there(s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path) -> None:
    """In their partitions."""
    store = _store(s3, tmp_path, "only_read", endpoint)
    destination = FileLoggingDestination(
        path=f"s3://{BUCKET}/logs", partition_by=["__request_id"], s3_endpoint_override=endpoint
    )
    service = FeatureService(
        name="served",
        features=[store.get_feature_view("stats")],
        logging_config=LoggingConfig(destination=destination),
    )
    store.apply([service])
    store.write_logged_features(logs_of_two(), service)
    assert sorted(_names(s3, "logs")) == ["__request_id=a", "__request_id=b"]


def test_the_same_path_on_two_servers_is_two_sources(
    s3: pyarrow.fs.FileSystem, endpoint: str, tmp_path: Path
) -> None:
    """Each view has the rows of the server that its source names, and finds them for itself."""
    with served() as other:
        views = [replace(STATS, name=name) for name in ("here", "alike", "there")]
        store = open_store(tmp_path, views)
        pq.write_table(pq.read_table(tmp_path / "here.parquet"), f"{BUCKET}/stats.parquet", filesystem=s3)
        for view, at in zip(views, [endpoint, endpoint, other["AWS_ENDPOINT_URL"]], strict=True):
            applied = store.get_feature_view(view.name)
            applied.batch_source.file_options.uri = f"s3://{BUCKET}/stats.parquet"
            applied.batch_source.file_options.s3_endpoint_override = at
            store.apply([applied])
        job = store.get_historical_features(
            entity_df=ASKED, features=references_to(views), full_feature_names=True
        )
        here, alike, there = (job.positions(view.name) for view in views)
    assert here.tolist() == there.tolist()
    assert np.shares_memory(here, alike)
    assert not np.shares_memory(here, there)
