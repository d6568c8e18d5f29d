"""Writers of one source at the same time, and writers that are killed: nothing is lost or half-written."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from asof_fixtures.installed import with_fixtures
from asof_fixtures.small_feature_repo import View, open_store, rows_of, values, write_parquet
from asof_fixtures.writer import row
from feast_asof import AsOfError

STATS = View("stats", ["user"], ["score"], rows_of("user event_timestamp score", (0, "2020-07-05", 0.0)))
WRITER = Path(__file__).parent / "asof_fixtures" / "writer.py"


def _users(path: Path) -> list[int]:
    return sorted(pq.read_table(path)["user"].to_pylist())


def test_rows_of_threads_that_write_at_once_are_all_kept(tmp_path: Path) -> None:
    """Twenty-four writes of eight threads, each with a store of its own."""
    store = open_store(tmp_path, [STATS])
    stores = [FeatureStore(config=store.config) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda user: stores[user % 8].write_to_offline_store("stats", row(user)), range(1, 25)))
    assert _users(tmp_path / "stats.parquet") == list(range(25))


def _start(tmp_path: Path, first: int, last: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", str(WRITER), str(first), str(last), str(tmp_path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=with_fixtures())


def test_rows_of_processes_that_write_at_once_are_all_kept(tmp_path: Path) -> None:
    """Two processes, ten writes each."""
    open_store(tmp_path, [STATS])
    writers = [_start(tmp_path, 1, 11), _start(tmp_path, 11, 21)]
    for writer in writers:
        writer.communicate(timeout=480)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert _users(tmp_path / "stats.parquet") == list(range(21))


def test_a_writer_that_is_killed_leaves_what_it_had_written_and_stops_nobody(tmp_path: Path) -> None:
    """kill -9 in the middle: every row whose write had returned is there, once; the next writer continues."""
    store = open_store(tmp_path, [STATS])
    writer = _start(tmp_path, 1, 100_000)
    assert writer.stdout is not None
    written = [int(writer.stdout.readline()) for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate(timeout=60)
    written += [int(line) for line in rest.split()]
    kept = _users(tmp_path / "stats.parquet")
    assert kept in (list(range(written[-1] + 1)), list(range(written[-1] + 2)))
    store.write_to_offline_store("stats", row(200_000))
    assert _users(tmp_path / "stats.parquet") == [*kept, 200_000]


def test_a_pattern_is_not_written_to(tmp_path: Path) -> None:
    """Before, all rows were written to a file of the name `*.parquet`, and counted twice afterwards."""
    write_parquet(STATS.rows, tmp_path / "one.parquet")
    store = open_store(tmp_path, [STATS])
    view = store.get_feature_view("stats")
    view.batch_source.file_options.uri = str(tmp_path / "o*.parquet")
    store.apply(view)
    with pytest.raises(AsOfError, match="make it a folder"):
        store._provider.ingest_df_to_offline_store(view, pq.read_table(tmp_path / "one.parquet"))
    assert not list(tmp_path.glob("o[*]*"))


def test_a_saved_dataset_that_is_overwritten_has_its_new_rows_only(tmp_path: Path) -> None:
    """In a folder, too: the file of the folder is replaced at once."""
    store = open_store(tmp_path, [STATS])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"))
    for day in ("2020-07-06", "2020-07-07"):
        asked = rows_of("user event_timestamp", (0, day))
        job = store.get_historical_features(entity_df=asked, features=["stats:score"])
        job.persist(storage, allow_overwrite=True)
    assert [file.name for file in (tmp_path / "saved").iterdir()] == ["data.parquet"]
    assert values(pq.read_table(tmp_path / "saved").to_pandas()["score"]) == [0.0]
