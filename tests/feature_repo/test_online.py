"""`feast materialize-incremental` fills the online store: it equals the offline join at that instant."""

import math
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import ValueType
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.type_map import python_values_to_proto_values

from feature_repo import online_columns, online_engine
from feature_repo.home import REPOSITORY
from feature_repo.online_columns import stored_values
from feature_repo.open_store import store as open_store
from feature_repo.views import VIEWS
from nightreel.core import columns
from nightreel.core.newest_rows import newest_rows_file
from nightreel.core.settings import Settings
from nightreel.operations.materialize import materialize
from pipelines.features import build_features
from pipelines.local_days import ALWAYS_KNOWN
from tests.fixtures.feature_home import every_feature, make_feature_home
from tests.fixtures.fork_server import forks
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight

LOG = make_log(4)
# Noon of a day in the middle of the log, and a later midnight, the cutoff of a refit.
NOON = midnight(FIRST_DAY + timedelta(days=5)) + timedelta(hours=12)
LATER = midnight(FIRST_DAY + timedelta(days=8))
NEXT_NIGHT, NIGHT_AFTER = LATER + timedelta(days=1), LATER + timedelta(days=2)
STRANGER = 999_999


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("online") / "home", LOG, patch)


def _materialize(home: Settings, instant: datetime) -> None:
    """By the command, as a user would; without a zone Feast takes the time as UTC."""
    done = forks.run(
        ["feast", "materialize-incremental", instant.replace(tzinfo=None).isoformat()],
        cwd=REPOSITORY,
        env={**os.environ, "NIGHTREEL_HOME": str(home.home)},
    )
    assert done.returncode == 0, done.stderr


def _pairs(instant: datetime) -> pl.DataFrame:
    """Every user and every video at least once, and one of each that nobody knows."""
    users = [STRANGER, *LOG.users[columns.USER_ID]]
    videos = [STRANGER, *LOG.video_captions[columns.VIDEO_ID]]
    rows = max(len(users), len(videos))
    return pl.DataFrame(
        {
            columns.USER_ID: [users[i % len(users)] for i in range(rows)],
            columns.VIDEO_ID: [videos[i % len(videos)] for i in range(rows)],
            columns.EVENT_TIMESTAMP: [instant] * rows,
        },
        schema_overrides={columns.EVENT_TIMESTAMP: pl.Datetime("us", "UTC")},
    )


def _online(pairs: pl.DataFrame) -> dict[str, list[Any]]:
    features = [f"{view.name}:{feature.name}" for view in VIEWS if view.online for feature in view.features]
    on_demand = [
        *("als_score:als_score", "category_lift:category_lift"),
        *("interaction_time:hour_of_day", "interaction_time:day_of_week"),
    ]
    rows = [
        {
            columns.USER_ID: user,
            columns.VIDEO_ID: video,
            columns.INTERACTION_TIMESTAMP: instant,
        }
        for user, video, instant in pairs.rows()
    ]
    found: dict[str, list[Any]] = (
        open_store().get_online_features(features=[*features, *on_demand], entity_rows=rows).to_dict()
    )
    return found


def _plain(value: Any) -> Any:
    """NaN and None are both null; instants as instants; numbers as they are."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list | tuple):
        return [float(part) for part in value]
    return value.timestamp() if isinstance(value, datetime) else value


def _assert_same(home: Settings, instant: datetime) -> dict[str, list[Any]]:
    pairs = _pairs(instant)
    online = _online(pairs)
    offline = every_feature(pairs).to_dict(as_series=False)
    names = {feature.name for view in VIEWS if view.online for feature in view.features}
    names |= {columns.ALS_SCORE, columns.CATEGORY_LIFT, columns.HOUR_OF_DAY, columns.DAY_OF_WEEK}
    assert names <= set(online) and names <= set(offline)
    for name in sorted(names):
        assert [_plain(v) for v in online[name]] == [_plain(v) for v in offline[name]], name
    for name in names - {columns.HOUR_OF_DAY, columns.DAY_OF_WEEK}:
        assert any(value is not None for value in map(_plain, online[name])), name
        assert _plain(online[name][0]) is None, name  # the stranger
    return online


def test_online_equals_offline_at_the_instant_up_to_which_it_was_filled(home: Settings) -> None:
    """Users and videos, all views; then again after a further, incremental run."""
    _materialize(home, NOON)
    first = _assert_same(home, NOON)
    open_store().materialize_incremental(LATER)
    second = _assert_same(home, LATER)
    for name in (columns.USER_AGG_INTERACTIONS, columns.VIDEO_AGG_VIEWS, columns.ALS_SCORE):
        assert first[name] != second[name], name


def _rows_written(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Rows that are written to the online store from now on, by view."""
    written: dict[str, int] = {}
    write = online_columns.write_rows

    def noting(connection: Any, table: str, view: Any, rows: pa.Table, version: int) -> None:
        written[view.name] = written.get(view.name, 0) + len(rows)
        write(connection, table, view, rows, version)

    monkeypatch.setattr(online_engine, "write_rows", noting)
    return written


def _materialized(home: Settings, instant: datetime) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of an online store that is filled anew, by table."""
    with sqlite3.connect(home.paths.online_store) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            opened.execute(f"DELETE FROM {table}")
    open_store().materialize(ALWAYS_KNOWN, instant)
    return _rows_of_store(home)


def _rows_of_store(home: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(home.paths.online_store) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: opened.execute(f"SELECT * FROM {table} ORDER BY entity_key, feature_name").fetchall()
            for table in tables
        }


def test_the_store_holds_what_feast_itself_writes(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of every view, byte for byte."""
    ours = _materialized(home, NOON)
    monkeypatch.setattr(
        online_engine.HomeComputeEngine, "_materialize_one", LocalComputeEngine._materialize_one
    )
    assert _materialized(home, NOON) == ours
    assert sum(map(len, ours.values())) > 1_000


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0.0, -0.0, 0.1, None, float("nan"), float("inf"), 3e-45], pa.float32()),
        pa.array([0, -1, 2**31 - 1, -(2**31), 7, 7], pa.int32()),
        pa.array([0, -1, 2**63 - 1, -(2**63), 2**53 + 1], pa.int64()),
        pa.array([3, None, 0], pa.int64()),
        pa.array(["", "a", None, "日本", "a"]),
        pa.array([[0.5, 1.0], [2.0, -0.0], None, [3.0, 4.0]], pa.list_(pa.float32())),
        pa.array([[7, 2**31 - 1], None, [], [-1]], pa.list_(pa.int32())),
        pa.array([0, 1_600_000_000_000_000, None], pa.timestamp("us", "UTC")),
    ],
    ids=lambda column: str(column.type),
)
def test_a_value_is_stored_as_feast_stores_it(column: pa.Array) -> None:
    """Zeros, numbers that are none, the ends of each type and what is unknown."""
    kinds = {
        pa.float32(): ValueType.FLOAT,
        pa.int32(): ValueType.INT32,
        pa.int64(): ValueType.INT64,
        pa.string(): ValueType.STRING,
        pa.list_(pa.float32()): ValueType.FLOAT_LIST,
        pa.list_(pa.int32()): ValueType.INT32_LIST,
        pa.timestamp("us", "UTC"): ValueType.UNIX_TIMESTAMP,
    }
    protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), kinds[column.type])
    values, texts = stored_values(pa.chunked_array([column]), kinds[column.type])
    assert list(values) == [proto.SerializeToString() for proto in protos]
    assert list(texts) == [extract_text_and_num(proto, False)[0] for proto in protos]


def test_a_night_writes_only_the_rows_that_differ(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is the same as if all had been written, and all is where another has written there."""
    materialize(home, LATER)
    written = _rows_written(monkeypatch)
    materialize(home, NEXT_NIGHT)
    assert "video_text" not in written and "user_profile" not in written
    assert 0 < written["user_activity"] <= len(LOG.users)
    _assert_same(home, NEXT_NIGHT)
    with sqlite3.connect(home.paths.online_store) as other:
        other.execute("DELETE FROM nightreel_video_text")
    written.clear()
    materialize(home, NIGHT_AFTER)
    _assert_same(home, NIGHT_AFTER)
    assert written["video_text"] == LOG.video_captions.height


def test_newest_rows_that_are_kept_fill_the_store_as_all_rows_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night that goes on from the one before materializes from what is kept, others from all rows."""
    day = midnight(FIRST_DAY + timedelta(days=7))
    early = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < day)
    home = make_feature_home(tmp_path / "home", LOG.with_interactions(early), monkeypatch)
    LOG.write(home)
    build_features(home)
    night = day + timedelta(days=2)
    of_source = home.paths.feature_source(columns.USER_ACTIVITY)
    kept = newest_rows_file(of_source, home.paths, night)
    assert kept is not None
    assert pl.scan_parquet(kept).select(pl.len()).collect().item() < pq.read_metadata(of_source).num_rows
    for instant in (day, night):
        expected = _materialized(home, instant)
        with sqlite3.connect(home.paths.online_store) as opened:
            for table in expected:
                opened.execute(f"DELETE FROM {table}")
        materialize(home, instant)
        assert _rows_of_store(home) == expected
