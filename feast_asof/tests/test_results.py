"""One join, many ways out: whole, in batches, to parquet, any rows of it; computed when it is asked for."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from asof_fixtures.small_feature_repo import View, open_store, references_to, rows_of
from feast_asof import AsOfError, AsOfRetrievalJob

STATS = View(
    "stats",
    ["user"],
    ["score", "name"],
    rows_of(
        "user event_timestamp score name",
        (1, "2020-07-05", 1.0, "one"),
        (2, "2020-07-05", 2.0, None),
        (2, "2020-07-07", 3.0, "three"),
    ),
    text=["name"],
)
LOAD = View("of_all", [], ["load"], rows_of("event_timestamp load", ("2020-07-06", 5.0)))
ENTITIES = rows_of(
    "user event_timestamp label",
    *((1 + at % 3, f"2020-07-0{5 + at % 4}", f"row {at}") for at in range(11)),
)


@pytest.fixture
def job(tmp_path: Path) -> AsOfRetrievalJob:
    store = open_store(tmp_path, [STATS, LOAD])
    made = store.get_historical_features(
        entity_df=ENTITIES, features=["stats:score", "stats:name", "of_all:load"]
    )
    assert isinstance(made, AsOfRetrievalJob)
    return made


def test_to_df_and_to_arrow_are_the_same_rows(job: AsOfRetrievalJob) -> None:
    """pandas sees what Arrow holds."""
    pd.testing.assert_frame_equal(job.to_df(), job.to_arrow().to_pandas())
    assert job.to_arrow().num_rows == job.num_rows == len(ENTITIES)


@pytest.mark.parametrize("max_rows", [1, 4, 10, 11, 12, 262_144])
def test_batches_are_the_table_in_pieces(job: AsOfRetrievalJob, max_rows: int) -> None:
    """No row is lost at the edges of batches, and none is larger than was asked."""
    batches = list(job.to_arrow_batches(max_rows))
    assert pa.Table.from_batches(batches).equals(job.to_arrow())
    assert max(batch.num_rows for batch in batches) <= max_rows


@pytest.mark.parametrize("max_rows", [3, 262_144])
def test_to_parquet_writes_the_table(job: AsOfRetrievalJob, tmp_path: Path, max_rows: int) -> None:
    """The file holds the same rows in the same order, and says how many it wrote."""
    path = tmp_path / "made" / "joined.parquet"
    assert job.to_parquet(path, max_rows=max_rows, compression="zstd") == 11
    assert pq.read_table(path).equals(job.to_arrow())
    assert [file.name for file in path.parent.iterdir()] == ["joined.parquet"]


def test_a_parquet_file_that_could_not_be_finished_is_not_there(
    job: AsOfRetrievalJob, tmp_path: Path
) -> None:
    """A file appears whole or not at all, and an earlier one stays."""
    path = tmp_path / "joined.parquet"
    path.write_text("an earlier file")
    with pytest.raises(pa.ArrowException, match="no such compression"):
        job.to_parquet(path, compression="no such compression")
    assert path.read_text() == "an earlier file"
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(2, 5),
        slice(8, 100),
        slice(5, 2),
        slice(None, None, 3),
        slice(None, None, -1),
        np.array([7, 0, 7, 10]),
        np.array([], dtype=int),
    ],
    ids=str,
)
def test_take_gives_any_rows_in_the_order_asked(job: AsOfRetrievalJob, rows: "np.ndarray | slice") -> None:
    """Slices and indices, repeated and empty ones too, with the schema that the job announced."""
    indices = np.arange(11)[rows] if isinstance(rows, slice) else rows
    taken = job.take(rows)
    assert taken.schema.equals(job.schema)
    assert taken.column_names == job.column_names
    assert taken.equals(job.to_arrow().take(pa.array(indices, pa.int64())))


def test_positions_and_source_columns_give_the_same_values_without_a_copy_of_the_table(
    job: AsOfRetrievalJob,
) -> None:
    """What training uses: the row of the source for each entity row, -1 where nothing was known."""
    positions = job.positions("stats")
    column = job.source_column("stats", "score").to_numpy()
    gathered = np.where(positions >= 0, column[positions], np.nan)
    np.testing.assert_array_equal(gathered, job.to_df()["score"].to_numpy())
    assert positions.dtype == np.int32
    with pytest.raises(AsOfError, match="feature view other is not in this job, which has stats, of_all"):
        job.positions("other")


def test_the_schema_is_known_before_a_row_is_read(job: AsOfRetrievalJob) -> None:
    """Column names and types as of the sources, without a join."""
    assert job.column_names == ["user", "event_timestamp", "label", "score", "name", "load"]
    assert job.schema.equals(job.to_arrow().schema)


def test_the_join_is_lazy(tmp_path: Path) -> None:
    """Asking for a job reads no rows; the rows are those that the source has when a value is first wanted."""
    store = open_store(tmp_path, [STATS])
    job = store.get_historical_features(entity_df=ENTITIES[:1], features=["stats:score"])
    newer = STATS.rows.assign(score=STATS.rows["score"] + 100)
    newer.to_parquet(tmp_path / "stats.parquet")
    assert job.to_df()["score"].tolist() == [101.0]


def test_the_job_says_what_was_asked(job: AsOfRetrievalJob) -> None:
    """Features, keys and time range, as Feast's saved datasets need them."""
    metadata = job.metadata
    assert metadata is not None
    assert metadata.features == ["stats:score", "stats:name", "of_all:load"]
    assert metadata.keys == ["user", "label"]
    assert metadata.min_event_timestamp == ENTITIES["event_timestamp"].min()
    assert metadata.max_event_timestamp == ENTITIES["event_timestamp"].max()


@pytest.mark.parametrize("target", ["saved.parquet", "saved"])
def test_persist_writes_a_file_or_a_folder_and_overwrites_only_when_told(
    job: AsOfRetrievalJob, tmp_path: Path, target: str
) -> None:
    """As with Feast's stores, an existing path is refused; with overwrite, the old rows are gone."""
    storage = SavedDatasetFileStorage(path=str(tmp_path / target))
    job.persist(storage)
    assert pq.read_table(tmp_path / target).equals(job.to_arrow())
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert pq.read_table(tmp_path / target).equals(job.to_arrow())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_saved_dataset_comes_back(tmp_path: Path) -> None:
    """Through create_saved_dataset and get_saved_dataset, with the time range of the entity dataframe."""
    store = open_store(tmp_path, [STATS])
    job = store.get_historical_features(entity_df=ENTITIES, features=["stats:score", "stats:name"])
    storage = SavedDatasetFileStorage(path=str(tmp_path / "dataset.parquet"))
    store.create_saved_dataset(from_=job, name="training", storage=storage)
    saved = store.get_saved_dataset("training")
    columns = ["user", "event_timestamp", "score", "name"]
    by = ["event_timestamp", "user", "score"]
    left, right = (
        frame[columns].sort_values(by).reset_index(drop=True) for frame in (saved.to_df(), job.to_df())
    )
    pd.testing.assert_frame_equal(left, right)


def test_a_batch_of_no_rows_is_refused(job: AsOfRetrievalJob) -> None:
    """A limit below one row would never end."""
    with pytest.raises(AsOfError, match="max_rows is 0"):
        next(job.to_arrow_batches(0))


def test_every_type_is_null_where_nothing_was_known(tmp_path: Path) -> None:
    """Numbers, times, text and lists, with and without own nulls; no value is hidden below a null."""
    at = pd.to_datetime(["2026-01-01"] * 3, utc=True)
    columns = {
        "small": pa.array([1, 2, 3], pa.int8()),
        "large": pa.array([1, 2, 3], pa.uint64()),
        "ratio": pa.array([1.5, 2.5, 3.5], pa.float32()),
        "gaps": pa.array([1.5, None, 3.5]),
        "when": pa.array(at, pa.timestamp("us", "UTC")),
        "day": pa.array([1, 2, 3], pa.date32()),
        "yes": pa.array([True, False, True]),
        "text": pa.array(["a", "b", "c"]),
        "price": pa.array([Decimal("1.20"), Decimal("2.30"), Decimal("3.40")], pa.decimal128(9, 2)),
        "vector": pa.array([[1.0], [2.0], [3.0]]),
    }
    view = View("stats", ["user"], list(columns), pd.DataFrame())
    pq.write_table(
        pa.table({"user": [1, 2, 3], "event_timestamp": at, **columns}), tmp_path / "stats.parquet"
    )
    asked = rows_of("user event_timestamp", *((user, "2026-01-02") for user in (3, 9, 2, 1, 9)))
    store = open_store(tmp_path, [view])
    joined = store.get_historical_features(entity_df=asked, features=references_to([view])).to_arrow()
    for name, column in columns.items():
        first, second, third = column.to_pylist()
        assert joined[name].to_pylist() == [third, None, second, first, None], name
        assert joined[name].type == column.type
    hidden = joined["ratio"].combine_chunks().buffers()[1]
    assert np.frombuffer(hidden, np.float32).tolist() == [3.5, 0.0, 2.5, 1.5, 0.0]
