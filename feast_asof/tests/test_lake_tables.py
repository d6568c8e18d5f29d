"""Delta and Iceberg tables: their present rows, and never deleted or replaced ones."""

import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64

from asof_fixtures.installed import iceberg_or_skip, module_or_skip, needs
from asof_fixtures.s3 import BUCKET, served
from asof_fixtures.small_feature_repo import ASOF, DUCKDB, assert_same_rows, open_store, rows_of, values
from feast_asof import AsOfError

module_or_skip("deltalake")
from deltalake import DeltaTable, write_deltalake  # noqa: E402

ROWS = rows_of(
    "user event_timestamp created score",
    (1, "2020-07-05", "2020-07-05", 1.0),
    (1, "2020-07-06", "2020-07-06", 2.0),
    (2, "2020-07-05", "2020-07-05", 3.0),
    (2, "2020-07-06", "2020-07-06", 4.0),
    (3, "2020-07-06", "2020-07-06", 5.0),
)
ASKED = rows_of(
    "user event_timestamp row",
    (1, "2020-07-07", 0),
    (2, "2020-07-07", 1),
    (3, "2020-07-05", 2),
    (3, "2020-07-07", 3),
    (9, "2020-07-07", 4),
)
# After user 1's newest row is deleted, and all of user 2 are replaced.
EXPECTED = [1.0, 40.0, None, 5.0, None]


def _arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _delta(folder: Path, **options: Any) -> DataSource:
    """A Delta table of ROWS in which rows were deleted and updated since."""
    path = str(folder / "stats")
    write_deltalake(path, _arrow(ROWS), **options)
    table = DeltaTable(path)
    table.delete("user = 1 AND score > 1.5")
    table.update(predicate="user = 2", updates={"score": "score * 10"})
    return _delta_source(path)


def _delta_source(path: str, **options: Any) -> FileSource:
    return FileSource(
        name="stats_source",
        path=path,
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        file_format=DeltaFormat(),
        **options,
    )


def _catalog(folder: Path) -> dict[str, str]:
    return {"uri": f"sqlite:///{folder / 'catalog.db'}", "warehouse": f"file://{folder / 'warehouse'}"}


def _iceberg(folder: Path) -> DataSource:
    """The same as an Iceberg table, in a catalog of SQLite."""
    load_catalog, iceberg_source = iceberg_or_skip()
    (folder / "warehouse").mkdir()
    catalog = load_catalog("small", type="sql", **_catalog(folder))
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.stats", schema=_arrow(ROWS).schema)
    table.append(_arrow(ROWS))
    table.delete("user = 1 AND score > 1.5")
    table.overwrite(_arrow(ROWS[2:4].assign(score=[30.0, 40.0])), "user = 2")
    return iceberg_source(
        name="stats_source",
        namespace="shop",
        table="stats",
        catalog_type="sql",
        catalog_name="small",
        warehouse=_catalog(folder)["warehouse"],
        catalog_properties={"uri": _catalog(folder)["uri"]},
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


def _with_deletion_vectors(folder: Path) -> DataSource:
    """Rows that are marked as deleted in files that stay as they are."""
    source = _delta(folder, configuration={"delta.enableDeletionVectors": "true"})
    assert "deletionVectors" in DeltaTable(str(folder / "stats")).protocol().reader_features
    return source


def _partitioned(folder: Path) -> DataSource:
    return _delta(folder, partition_by=["user"])


KINDS = {
    "delta": _delta,
    "delta partitioned": _partitioned,
    "delta with deletion vectors": _with_deletion_vectors,
    "iceberg": _iceberg,
}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> DataSource:
    return KINDS[request.param](tmp_path)


def _store(folder: Path, source: DataSource, *, offline_store: str = ASOF) -> FeatureStore:
    """A store with the view `stats` over this source."""
    store = open_store(folder, [], offline_store=offline_store)
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    view = FeatureView(
        name="stats",
        entities=[user],
        ttl=timedelta(0),
        schema=[Field(name="user", dtype=Int64), Field(name="score", dtype=Float64)],
        source=source,
    )
    store.apply([user, view])
    return store


def _scores(store: FeatureStore) -> list[Any]:
    return values(store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()["score"])


def test_a_table_joins_with_what_lies_in_it_now(tmp_path: Path, source: DataSource) -> None:
    """Deleted rows and old versions of updated ones are no values, partitioned or not."""
    assert _scores(_store(tmp_path, source)) == EXPECTED


def test_it_joins_as_feasts_duckdb_store_has_it(tmp_path: Path, source: DataSource) -> None:
    """It reads Iceberg itself; Delta by an extension from the network, so it gets those rows as parquet."""
    theirs = source
    if isinstance(source, FileSource):
        now = tmp_path / "now.parquet"
        pq.write_table(pa.table(DeltaTable(str(tmp_path / "stats")).scan()), now)
        theirs = _as_parquet(now)
    joined = [
        _store(folder, of, offline_store=store)
        .get_historical_features(entity_df=ASKED.copy(), features=["stats:score"])
        .to_df()
        for store, folder, of in ((ASOF, tmp_path / "a", source), (DUCKDB, tmp_path / "b", theirs))
    ]
    assert_same_rows(*joined)


def test_rows_that_are_added_are_joined(tmp_path: Path, source: DataSource) -> None:
    """As one commit more."""
    store = _store(tmp_path, source)
    view = store.get_feature_view("stats")
    added = _arrow(ROWS[:1].assign(user=9, score=90.0))
    type(store._provider.offline_store).offline_write_batch(store.config, view, added, None)
    assert _scores(store) == [*EXPECTED[:4], 90.0]
    with pytest.raises(AsOfError, match="feature view stats: rows to write have the columns user"):
        type(store._provider.offline_store).offline_write_batch(
            store.config, view, added.select(["user"]), None
        )


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_rows_of_threads_that_write_at_once_are_all_kept(tmp_path: Path, kind: str) -> None:
    """Twenty-four commits of eight threads, of which only one at a time can be the next."""
    store = _store(tmp_path, KINDS[kind](tmp_path))
    view = store.get_feature_view("stats")

    def write(user: int) -> None:
        added = _arrow(ROWS[:1].assign(user=user))
        type(store._provider.offline_store).offline_write_batch(store.config, view, added, None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(100, 124)))
    asked = rows_of("user event_timestamp", *((user, "2020-07-07") for user in range(100, 124)))
    joined = store.get_historical_features(entity_df=asked, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0] * 24


def test_a_table_is_materialized_and_monitored(tmp_path: Path, source: DataSource) -> None:
    """And the events of a range are its rows."""
    store = _store(tmp_path, source)
    start, end = ROWS["event_timestamp"].min(), ROWS["event_timestamp"].max()
    store.materialize(start.to_pydatetime(), end.to_pydatetime())
    online = store.get_online_features(["stats:score"], [{"user": user} for user in (1, 2, 3)]).to_dict()
    assert online["score"] == [1.0, 40.0, 5.0]
    events = store.get_historical_features(features=["stats:score"], start_date=start, end_date=end).to_df()
    assert sorted(events["score"]) == [1.0, 5.0, 30.0, 40.0]
    monitoring = pytest.importorskip("feast.monitoring.monitoring_service", reason="Feast 0.64 and later")
    monitoring.MonitoringService(store).compute_baseline()
    (metric,) = monitoring.MonitoringService(store).get_baseline("small")
    assert (metric["row_count"], metric["max_val"]) == (4, 40.0)


def test_what_was_opened_is_read_whatever_is_committed_since(tmp_path: Path, source: DataSource) -> None:
    """A job is of the table as it was when the join was asked for, also in another process."""
    store = _store(tmp_path, source)
    job = store.get_historical_features(entity_df=ASKED, features=["stats:score"])
    elsewhere = pickle.loads(pickle.dumps(job._views["stats"]))
    added = _arrow(ROWS[:1].assign(user=9, score=90.0))
    view = store.get_feature_view("stats")
    type(store._provider.offline_store).offline_write_batch(store.config, view, added, None)
    assert values(job.to_df()["score"]) == EXPECTED
    assert len(elsewhere.source.read(["score"])) == 4


def test_a_column_that_a_table_lacks_is_named(tmp_path: Path, source: DataSource) -> None:
    """With what it has."""
    source.created_timestamp_column = "made"
    with pytest.raises(AsOfError, match=r"column 'made' is not in .*stats, which has user, event_timestamp"):
        _scores(_store(tmp_path, source))


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_missing_table_is_named(tmp_path: Path, kind: str) -> None:
    """One line."""
    source = KINDS[kind](tmp_path)
    store = _store(tmp_path, source)
    view = store.get_feature_view("stats")
    if kind == "iceberg":
        view.batch_source.iceberg_table = "absent"
        message = "there is no Iceberg table .*shop.absent"
    else:
        view.batch_source.file_options.uri = str(tmp_path / "absent")
        message = "there is no Delta table at .*absent"
    store.apply([view])
    with pytest.raises(AsOfError, match=f"feature view stats: {message}"):
        _scores(store)


@pytest.mark.parametrize(("kind", "module"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_missing_library_is_named(
    tmp_path: Path, kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that brings it."""
    store = _store(tmp_path, KINDS[kind](tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AsOfError, match=f"feature view stats: needs {module}; `pip install {module}`"):
        _scores(store)


def _as_parquet(path: Path | str) -> FileSource:
    return FileSource(path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created")


@pytest.mark.parametrize("below", ["", "*.parquet", "one file", ".."])
def test_files_of_a_delta_table_are_not_read_as_parquet(tmp_path: Path, below: str) -> None:
    """Neither the folder, nor a pattern, nor one of its files, nor a folder above."""
    (tmp_path / "lake").mkdir()
    _delta(tmp_path / "lake")
    table = tmp_path / "lake" / "stats"
    path = {"": table, "*.parquet": table / below, "..": table.parent}.get(
        below, next(table.glob("*.parquet"))
    )
    with pytest.raises(AsOfError) as caught:
        _scores(_store(tmp_path, _as_parquet(path)))
    assert str(caught.value) == (
        f"feature view stats: {table} is a Delta table: declare its source with file_format=DeltaFormat()."
    )


def test_neither_is_a_partition_of_one_nor_a_table_of_entities(tmp_path: Path) -> None:
    """A `key=value` folder below a table is part of it."""
    _partitioned(tmp_path)
    with pytest.raises(AsOfError, match="stats is a Delta table"):
        _scores(_store(tmp_path, _as_parquet(tmp_path / "stats" / "user=1")))
    store = _store(tmp_path, _delta_source(str(tmp_path / "stats")))
    with pytest.raises(AsOfError, match=r"entity dataframe .*: .*stats is a Delta table"):
        store.get_historical_features(entity_df=str(tmp_path / "stats"), features=["stats:score"])


@pytest.mark.parametrize("below", ["", "data"])
def test_files_of_an_iceberg_table_are_not_read_as_parquet(tmp_path: Path, below: str) -> None:
    """Neither its folder nor that of its data."""
    _iceberg(tmp_path)
    (table,) = (tmp_path / "warehouse").rglob("stats")
    with pytest.raises(AsOfError, match="stats is an Iceberg table: declare it as an IcebergSource"):
        _scores(_store(tmp_path, _as_parquet(table / below)))


def test_a_result_is_saved_as_a_delta_table(tmp_path: Path) -> None:
    """Which is there already the second time, and replaced where that is asked for."""
    store = _store(tmp_path, _delta(tmp_path))
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"), file_format=DeltaFormat())
    job = store.get_historical_features(entity_df=ASKED, features=["stats:score"])
    job.persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert DeltaTable(str(tmp_path / "saved")).to_pyarrow_table()["score"].to_pylist() == EXPECTED


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served() as environment:
        for name, value in environment.items():
            if name != "AWS_ENDPOINT_URL":
                monkeypatch.setenv(name, value)
        yield environment["AWS_ENDPOINT_URL"]


@needs("moto")
def test_a_delta_table_on_s3_joins(tmp_path: Path, endpoint: str) -> None:
    """Through the endpoint of its source; declared as parquet it is refused there, too."""
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    uri = f"s3://{BUCKET}/lake/stats"
    write_deltalake(uri, _arrow(ROWS), storage_options=options)
    DeltaTable(uri, storage_options=options).delete("user = 1 AND score > 1.5")
    store = _store(tmp_path, _delta_source(uri, s3_endpoint_override=endpoint))
    assert _scores(store) == [1.0, 4.0, None, 5.0, None]
    parquet = _as_parquet(uri)
    parquet.file_options.s3_endpoint_override = endpoint
    with pytest.raises(AsOfError, match=f"{BUCKET}/lake/stats is a Delta table"):
        _scores(_store(tmp_path / "other", parquet))


def test_a_relative_path_counts_from_the_repository(tmp_path: Path) -> None:
    """As that of parquet does; not from where the process happens to run."""
    _delta(tmp_path)
    assert _scores(_store(tmp_path, _delta_source("stats"))) == EXPECTED


def test_an_empty_table_has_no_values(tmp_path: Path) -> None:
    """And is no error."""
    write_deltalake(str(tmp_path / "stats"), _arrow(ROWS[:0]))
    assert _scores(_store(tmp_path, _delta_source(str(tmp_path / "stats")))) == [None] * 5
