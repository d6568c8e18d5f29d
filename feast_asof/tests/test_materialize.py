"""From the sources to the online store, through Feast's own materialization and command."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from feast import BatchFeatureView, Entity, FeatureStore, Field, FileSource, ValueType
from feast.cli.cli import cli
from feast.types import Float64, Int64
from packaging.version import Version

from asof_fixtures.installed import FEAST
from asof_fixtures.small_feature_repo import ASOF, DUCKDB, View, open_store, rows_of, values, write_parquet
from feast_asof import AsOfError, AsOfOfflineStore

START, END = datetime(2020, 7, 5, tzinfo=UTC), datetime(2020, 7, 7, tzinfo=UTC)
STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of(
        "user event_timestamp created score",
        (1, "2020-07-06", "2020-07-06", 1.0),
        (1, "2020-07-05", "2020-07-09", 2.0),
        (2, "2020-07-07", "2020-07-07", 3.0),
        (2, "2020-07-07", "2020-07-08", 4.0),
        (2, "2020-07-07", "2020-07-06", 5.0),
        (3, "2020-07-04 23:59:59.999999", "2020-07-05", 6.0),
        (4, "2020-07-07 00:00:00.000001", "2020-07-08", 7.0),
    ),
    created=True,
)
TAGS = View(
    "tags", ["tag", "user"], ["rank"], rows_of("tag user event_timestamp rank", ("a", 1, "2020-07-06", 8.0))
)
LOAD = View("of_all", [], ["load"], rows_of("event_timestamp load", ("2020-07-06", 5.0), ("2020-07-05", 4.0)))
ROWS: list[dict[str, object]] = [{"user": user, "tag": "a"} for user in (1, 2, 3, 4, 9)]


def test_materialize_stores_the_newest_value_of_each_key_in_the_range(tmp_path: Path) -> None:
    """Both ends included, newest created among equals, composite keys: as with Feast's DuckDB store."""
    answers = []
    for offline_store in (ASOF, DUCKDB):
        store = open_store(tmp_path, [STATS, TAGS], offline_store=offline_store, text_keys=["tag"])
        store.materialize(START, END)
        online = store.get_online_features(features=["stats:score", "tags:rank"], entity_rows=ROWS)
        answers.append(online.to_dict())
    assert answers[0] == answers[1]
    assert answers[0]["score"] == [1.0, 4.0, None, None, None]
    assert answers[0]["rank"] == [8.0, None, None, None, None]


def test_a_view_without_entities_is_materialized(tmp_path: Path) -> None:
    """Its newest value is served, at any position in the source. Feast's DuckDB store raises here."""
    store = open_store(tmp_path, [STATS, LOAD])
    store.materialize(START, END)
    online = store.get_online_features(features=["stats:score", "of_all:load"], entity_rows=ROWS[:3])
    assert online.to_dict()["load"] == [5.0] * 3


@pytest.mark.skipif(Version("0.63") > FEAST, reason="Feast 0.62 asks for the result's columns")
def test_a_batch_view_with_a_transformation_reads_every_column_of_its_source(tmp_path: Path) -> None:
    """Feast asks for no column by name then; the transformation finds the raw ones, as with dask."""
    write_parquet(STATS.rows.rename(columns={"score": "raw"}), tmp_path / "raw.parquet")
    store = open_store(tmp_path, [])
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    source = FileSource(path=str(tmp_path / "raw.parquet"), timestamp_field="event_timestamp")
    view = BatchFeatureView(
        name="doubled",
        entities=[user],
        schema=[Field(name="user", dtype=Int64), Field(name="double", dtype=Float64)],
        source=source,
        mode="pandas",
        udf=_double,
        udf_string="double",
        online=True,
    )
    store.apply([user, view])
    store.materialize(START, END)
    online = store.get_online_features(features=["doubled:double"], entity_rows=[{"user": 1}])
    assert online.to_dict()["double"] == [2.0]


def _double(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(double=frame["raw"] * 2)


def test_latest_of_a_source_is_that_of_feasts_duckdb_store(tmp_path: Path) -> None:
    """With `materialization: pull_latest_features` the store itself picks the newest row of each key."""
    answers = []
    for offline_store in (ASOF, DUCKDB):
        store = open_store(tmp_path, [STATS, TAGS], offline_store=offline_store, text_keys=["tag"])
        store.config.materialization_config.pull_latest_features = True
        store.materialize(START, END)
        online = store.get_online_features(features=["stats:score", "tags:rank"], entity_rows=ROWS)
        answers.append(online.to_dict())
    assert answers[0] == answers[1]
    assert answers[0]["score"] == [1.0, 4.0, None, None, None]


def test_latest_of_row_groups_in_any_order_is_that_of_feasts_duckdb_store(tmp_path: Path) -> None:
    """Several keys of a group, none of another, and equal times in two groups."""
    rows = [(4, 7, 7), (1, 6, 7), (2, 5, 5), (3, 4, 5), (1, 5, 6), (2, 4, 9), (2, 7, 6), (3, 6, 6), (4, 7, 8)]
    values = [(user, f"2020-07-0{day}", f"2020-07-0{made}", at) for at, (user, day, made) in enumerate(rows)]
    stats = View(
        "stats", ["user"], ["score"], rows_of("user event_timestamp created score", *values), created=True
    )
    table = pa.Table.from_pandas(stats.rows.astype({"score": float}), preserve_index=False)
    pq.write_table(table, tmp_path / "stats.parquet", row_group_size=3, coerce_timestamps="us")
    answers = []
    for offline_store in (ASOF, DUCKDB):
        store = open_store(tmp_path, [stats], offline_store=offline_store)
        store.config.materialization_config.pull_latest_features = True
        store.materialize(START, END)
        users = [{"user": user} for user in range(1, 5)]
        answers.append(store.get_online_features(["stats:score"], users).to_dict())
    assert answers[0] == answers[1]
    assert answers[0]["score"] == [1.0, 6.0, 7.0, 8.0]


def test_features_of_row_groups_without_a_newest_row_are_not_read(tmp_path: Path) -> None:
    """A source that has grown for years costs its keys and times: its old features cannot be read here."""
    times = pd.to_datetime(["2020-07-05", "2020-07-06"] * 2, utc=True).sort_values().as_unit("us")
    table = pa.table({"user": [1, 2, 1, 2], "event_timestamp": times, "score": [1.0, 2.0, 3.0, 4.0]})
    path = tmp_path / "stats.parquet"
    pq.write_table(table, path, row_group_size=2, use_dictionary=False, compression="none")
    score = pq.read_metadata(path).row_group(0).column(2)
    content = bytearray(path.read_bytes())
    content[score.data_page_offset : score.data_page_offset + score.total_compressed_size] = (
        b"\xff" * score.total_compressed_size
    )
    path.write_bytes(content)
    with pytest.raises(OSError):
        pq.read_table(path)
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows_of("user event_timestamp score"))])
    store.config.materialization_config.pull_latest_features = True
    store.materialize(START, END)
    online = store.get_online_features(["stats:score"], [{"user": 1}, {"user": 2}]).to_dict()
    assert online["score"] == [3.0, 4.0]


def test_latest_of_a_source_without_keys_is_one_row(tmp_path: Path) -> None:
    """Materialization with pull_latest_features stores it too."""
    store = open_store(tmp_path, [STATS, LOAD])
    store.config.materialization_config.pull_latest_features = True
    store.materialize(START, END)
    online = store.get_online_features(features=["stats:score", "of_all:load"], entity_rows=ROWS[:3])
    assert online.to_dict()["load"] == [5.0] * 3


def test_materialize_incremental_takes_up_where_it_ended(tmp_path: Path) -> None:
    """A second run adds what has become known since."""
    store = open_store(tmp_path, [STATS])
    store.materialize(START, END)
    store.materialize_incremental(END + timedelta(days=1))
    online = store.get_online_features(features=["stats:score"], entity_rows=[{"user": 4}, {"user": 1}])
    assert online.to_dict()["score"] == [7.0, 1.0]


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize(
    ("user", "without"),
    [
        (pa.array([1, None, 2]), 1),
        (pa.array([1.0, math.nan, 2.0]), 1),
        (pa.array([None, None, None], pa.int64()), 3),
    ],
)
def test_rows_with_a_null_key_are_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, user: pa.Array, without: int, latest: bool
) -> None:
    """The rows that have their key are stored, and one line says what was not."""
    rows = pa.Table.from_pandas(
        rows_of("event_timestamp score", *(("2020-07-06", score) for score in (1.0, 3.0, 2.0))),
        preserve_index=False,
    )
    write_parquet(rows.append_column("user", user), tmp_path / "stats.parquet")
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows.to_pandas())])
    store.config.materialization_config.pull_latest_features = latest
    store.materialize(START, END)
    online = store.get_online_features(["stats:score"], [{"user": 1}, {"user": 2}]).to_dict()
    assert online["score"] == ([1.0, 2.0] if without == 1 else [None, None])
    path = tmp_path / "stats.parquet"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("feast_asof")] == [
        f"source stats_source: left out {without} of 3 rows of {path} whose key (user) is null."
    ]


def test_a_row_without_one_of_two_keys_is_left_out(tmp_path: Path) -> None:
    """A part of a key is no key."""
    rows = rows_of("tag user event_timestamp rank", ("a", 1, "2020-07-06", 8.0), (None, 1, "2020-07-06", 9.0))
    store = open_store(tmp_path, [View("tags", ["tag", "user"], ["rank"], rows)], text_keys=["tag"])
    store.materialize(START, END)
    online = store.get_online_features(["tags:rank"], [{"user": 1, "tag": "a"}]).to_dict()
    assert online["rank"] == [8.0]


REPOSITORY = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[user],
    schema=[Field(name="score", dtype=Float64)],
    source=FileSource(
        path="stats.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
    ),
)
"""
CONFIGURATION = """
project: small
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
offline_store: {type: feast_asof.AsOfOfflineStore}
entity_key_serialization_version: 3
"""


def test_the_feast_command_applies_and_materializes(tmp_path: Path) -> None:
    """A repository as a Feast user has it: feature_store.yaml, a definitions file, a path relative to it."""
    (tmp_path / "feature_store.yaml").write_text(CONFIGURATION)
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    STATS.rows.to_parquet(tmp_path / "stats.parquet")
    for arguments in (["apply"], ["materialize", "2020-07-05T00:00:00", "2020-07-07T00:00:00"]):
        done = CliRunner().invoke(cli, ["--chdir", str(tmp_path), *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    store = FeatureStore(repo_path=tmp_path)
    online = store.get_online_features(features=["stats:score"], entity_rows=[{"user": 1}, {"user": 2}])
    assert online.to_dict()["score"] == [1.0, 4.0]
    entities = rows_of("user event_timestamp", (2, "2020-07-08"))
    assert values(
        store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df()["score"]
    ) == [4.0]


@pytest.mark.parametrize("ends", [(None, None), (START, None), (None, END), (START, END)])
def test_pull_all_gives_every_row_of_the_range(
    tmp_path: Path, ends: tuple[datetime | None, datetime | None]
) -> None:
    """Both ends included where they are given, the same rows as Feast's DuckDB store gives."""
    frames = []
    for offline_store in (ASOF, DUCKDB):
        store = open_store(tmp_path, [STATS], offline_store=offline_store)
        job = store._get_provider().offline_store.pull_all_from_table_or_query(
            config=store.config,
            data_source=store.get_feature_view("stats").batch_source,
            join_key_columns=["user"],
            feature_name_columns=["score"],
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
            start_date=ends[0],
            end_date=ends[1],
        )
        frames.append(job.to_df().sort_values("score").reset_index(drop=True))
    pd.testing.assert_frame_equal(frames[0][frames[1].columns.tolist()], frames[1], check_dtype=False)
    expected = {(None, None): 7, (START, None): 6, (None, END): 6, (START, END): 5}
    assert len(frames[0]) == expected[ends]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Materialization says which source and which path."""
    store = open_store(tmp_path, [STATS])
    (tmp_path / "stats.parquet").unlink()
    source = store.get_feature_view("stats").batch_source
    with pytest.raises(
        AsOfError, match=r"source stats_source: there is no parquet file or folder at .*stats\.parquet"
    ):
        AsOfOfflineStore.pull_all_from_table_or_query(
            store.config, source, ["user"], ["score"], "event_timestamp"
        )
