"""Batches appended to a source and logged features: what is there stays, what comes is added."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination

from asof_fixtures.small_feature_repo import ASOF, DUCKDB, open_store, values
from asof_fixtures.written import ADDED, ASKED, STATS, logs_of_two
from feast_asof import AsOfError, AsOfOfflineStore
from feast_asof.writing import write_whole_file


@pytest.mark.parametrize("offline_store", [ASOF, DUCKDB])
def test_rows_written_to_a_source_are_joined_from_then_on(tmp_path: Path, offline_store: str) -> None:
    """write_to_offline_store appends to the view's parquet, whatever the order of the frame's columns."""
    store = open_store(tmp_path, [STATS], offline_store=offline_store)
    store.write_to_offline_store("stats", ADDED[["score", "created", "user", "event_timestamp"]])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    joined = joined.sort_values(["user", "event_timestamp"])
    assert values(joined["score"]) == [1.0, 2.0, 3.0]
    assert pq.read_table(tmp_path / "stats.parquet").num_rows == 3


def test_a_folder_gets_one_file_more(tmp_path: Path) -> None:
    """Nothing that is there is written anew."""
    (tmp_path / "stats.parquet").mkdir()
    first = tmp_path / "stats.parquet" / "first.parquet"
    STATS.rows.to_parquet(first, index=False)
    before = first.read_bytes()
    store = open_store(tmp_path, [STATS])
    store.write_to_offline_store("stats", ADDED)
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0, 2.0, 3.0]
    assert first.read_bytes() == before
    assert len(list(first.parent.iterdir())) == 2


def test_progress_is_told_and_other_columns_are_refused(tmp_path: Path) -> None:
    """The columns are the source's in its order, and their types can become the source's."""
    store = open_store(tmp_path, [STATS])
    view = store.get_feature_view("stats")
    table = pa.Table.from_pandas(ADDED, preserve_index=False)
    progress: list[int] = []
    AsOfOfflineStore.offline_write_batch(store.config, view, table, progress.append)
    assert progress == [2]
    with pytest.raises(AsOfError, match="feature view stats: rows to write have the columns score"):
        AsOfOfflineStore.offline_write_batch(store.config, view, table.select(["score"]), None)
    text = table.set_column(3, "score", pa.array(["a", "b"]))
    with pytest.raises(AsOfError, match=r"feature view stats: rows to write do not fit .*stats\.parquet"):
        AsOfOfflineStore.offline_write_batch(store.config, view, text, None)
    assert pq.read_table(tmp_path / "stats.parquet").num_rows == 3


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path: Path) -> None:
    """A reader sees the old rows or the new ones, never a half-written file."""
    path = tmp_path / "kept.parquet"
    STATS.rows.to_parquet(path)
    before = path.read_bytes()

    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pandas(ADDED)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write_whole_file(path, broken())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["kept.parquet"]


def _service(store: FeatureStore, folder: Path, partition_by: list[str] | None) -> FeatureService:
    service = FeatureService(
        name="served",
        features=[store.get_feature_view("stats")],
        logging_config=LoggingConfig(
            destination=FileLoggingDestination(path=str(folder / "logs"), partition_by=partition_by)
        ),
    )
    store.apply([service])
    return service


@pytest.mark.parametrize("as_files", [False, True])
@pytest.mark.parametrize("partition_by", [None, ["__request_id"]])
def test_logged_features_are_added_to_their_folder(
    tmp_path: Path, as_files: bool, partition_by: list[str] | None
) -> None:
    """Two calls leave the rows of both, from a table or from a folder of parquet, partitioned or not."""
    store = open_store(tmp_path, [STATS])
    service = _service(store, tmp_path, partition_by)
    logs: pa.Table | Path = logs_of_two()
    if as_files:
        (tmp_path / "captured").mkdir()
        pq.write_table(logs, tmp_path / "captured" / "part.parquet")
        logs = tmp_path / "captured"
    store.write_logged_features(logs, service)
    store.write_logged_features(logs, service)
    destination = service.logging_config.destination.to_data_source()  # type: ignore[union-attr]
    written = AsOfOfflineStore.pull_all_from_table_or_query(
        store.config, destination, ["user"], ["score", "__request_id"], "__log_timestamp"
    )
    assert sorted(written.to_df()["__request_id"]) == ["a", "a", "b", "b"]
    assert sorted(written.to_df()["score"]) == [2.0, 2.0, 3.0, 3.0]
