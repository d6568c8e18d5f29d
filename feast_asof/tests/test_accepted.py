"""What other stores and libraries hand over: exact keys of any type, frames of any library, no rows, SQL."""

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FileSource

from asof_fixtures.installed import module_or_skip, needs
from asof_fixtures.small_feature_repo import (
    ASOF,
    DUCKDB,
    View,
    joined_as_duckdb_does,
    open_store,
    rows_of,
    values,
)
from feast_asof import AsOfError
from feast_asof.keys import comparable, comparable_to
from feast_asof.sql_entities import is_sql

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of("user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2020-07-05", 2.0)),
)
ASKED = rows_of("user event_timestamp", (2, "2020-07-06"), (3, "2020-07-06"), (1, "2020-07-06"))
TIME = datetime(2020, 7, 5, tzinfo=UTC)


def _source(folder: Path, keys: pa.Array) -> None:
    """The parquet of `stats` with these keys, whose scores count from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    times = pa.array([TIME] * len(keys), pa.timestamp("us", "UTC"))
    scores = pa.array([float(row) for row in range(len(keys))])
    pq.write_table(
        pa.table({"user": keys, "event_timestamp": times, "score": scores}), folder / "stats.parquet"
    )


def _joined(folder: Path, keys: pa.Array) -> list[Any]:
    """The scores of these keys."""
    times = pa.array([TIME + timedelta(days=1)] * len(keys), pa.timestamp("us", "UTC"))
    store = open_store(folder, [STATS])
    asked = pa.table({"user": keys, "event_timestamp": times})
    return values(store.get_historical_features(entity_df=asked, features=["stats:score"]).to_df()["score"])


DECIMALS = [Decimal("1.5"), Decimal("-2"), Decimal("3.25"), Decimal("7")]


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [
        (
            pa.array(DECIMALS, pa.decimal128(5, 2)),
            pa.array(DECIMALS[::-1], pa.decimal128(9, 4)),
            [3, 2, 1, 0],
        ),
        (
            pa.array(DECIMALS, pa.decimal128(9, 4)),
            pa.array(DECIMALS[::-1], pa.decimal128(5, 2)),
            [3, 2, 1, 0],
        ),
        (
            pa.array(DECIMALS[:1], pa.decimal128(5, 1)),
            pa.array([Decimal("1.51")], pa.decimal128(5, 2)),
            [None],
        ),
        (pa.array([Decimal(10)], pa.decimal128(2, 0)), pa.array([Decimal(110)], pa.decimal128(3, 0)), [None]),
        (pa.array(DECIMALS, pa.decimal128(5, 2)), pa.array([7, -2, 1, 10**18]), [3, 1, None, None]),
        (pa.array([7, -2, 1]), pa.array([*DECIMALS, None], pa.decimal128(5, 2)), [None, 1, None, 0, None]),
        (pa.array([7]), pa.array([Decimal(2**63), Decimal(7)], pa.decimal128(38, 0)), [None, 0]),
        (pa.array([1, 2**64 - 1], pa.uint64()), pa.array([-1, 1, 2]), [None, 0, None]),
        (pa.array([-1, 1, 2]), pa.array([1, 2**64 - 1, 2**63], pa.uint64()), [1, None, None]),
        (pa.array([2**63, 1], pa.uint64()), pa.array([2**63, 1], pa.uint64()), [0, 1]),
        (
            pa.array([1, 2], pa.uint64()),
            pa.array([Decimal(2), Decimal("-2")], pa.decimal128(3, 1)),
            [1, None],
        ),
        (pa.array([0.5, 2.0], pa.float32()), pa.array([2.0, 0.5, 0.1]), [1, 0, None]),
        (pa.array([b"a", b"b"]), pa.array([b"b", b"c"], pa.large_binary()), [1, None]),
        (pa.array([1, 2], pa.date32()), pa.array([2 * 86_400_000], pa.date64()), [1]),
        (pa.array(["a", "b"], pa.string_view()), pa.array(["b", "c"]), [1, None]),
        (pa.array(["a", "b"]), pa.array(["b", "c"], pa.string_view()), [1, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_keys_that_are_equal_match_whatever_their_types(
    tmp_path: Path, source: pa.Array, asked: pa.Array, expected: list[Any]
) -> None:
    """Exactly: what the source's type does not hold is none of its keys, not the nearest of them."""
    _source(tmp_path, source)
    assert _joined(tmp_path, asked) == expected


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (pa.array([Decimal("1.5"), Decimal(2)], pa.decimal128(5, 2)), [Decimal("1.5000"), Decimal("2.0001")]),
        (pa.array([1, 2**63 + 1], pa.uint64()), [1, -1]),
    ],
    ids=["decimal", "uint64"],
)
def test_feasts_duckdb_store_joins_them_alike(tmp_path: Path, source: pa.Array, asked: list[Any]) -> None:
    """The same rows from a frame."""
    _source(tmp_path, source)
    entities = pd.DataFrame({"user": asked, "event_timestamp": [pd.Timestamp("2020-07-06", tz="UTC")] * 2})
    joined = joined_as_duckdb_does(tmp_path, [STATS], entities)
    assert values(joined["score"]) == [0.0, None]


def test_every_decimal_is_held_exactly_or_not_at_all() -> None:
    """Against Python's own decimals, at the edges of precision and of 64 bits."""
    numbers = [
        Decimal(sign) * base + step
        for sign in (1, -1)
        for base in (Decimal(0), Decimal(99), Decimal(100), Decimal(2**63), Decimal(2**64))
        for step in (Decimal(-1), Decimal("-0.01"), Decimal(0), Decimal("0.5"), Decimal(1))
    ]
    column = pa.array(numbers, pa.decimal128(38, 2))
    for target, holds in (
        (pa.int64(), lambda n: n == int(n) and -(2**63) <= n < 2**63),
        (pa.uint64(), lambda n: n == int(n) and 0 <= n < 2**64),
        (pa.decimal128(3, 1), lambda n: n * 10 == int(n * 10) and abs(n) < 100),
        (pa.decimal128(2, 0), lambda n: n == int(n) and abs(n) < 100),
    ):
        held = comparable_to(column, target)
        assert held.type == comparable(pa.array([], target)).type
        assert held.to_pylist() == [number if holds(number) else None for number in numbers]


def test_views_whose_keys_differ_in_width_share_the_events_of_a_range(tmp_path: Path) -> None:
    """Before, the last view's type counted, and a wider key of another ended with an error of Arrow's."""
    tmp_path.mkdir(exist_ok=True)
    wide = rows_of("user event_timestamp rank", (2**40, "2020-07-05", 9.0))
    narrow = pa.Table.from_pandas(STATS.rows, preserve_index=False)
    narrow = narrow.set_column(0, "user", narrow["user"].cast(pa.int32()))
    pq.write_table(narrow, tmp_path / "stats.parquet")
    store = open_store(tmp_path, [View("ranks", ["user"], ["rank"], wide), STATS])
    joined = store.get_historical_features(
        features=["ranks:rank", "stats:score"], start_date=TIME, end_date=TIME
    ).to_df()
    assert joined["user"].tolist() == [1, 2, 2**40]
    assert values(joined["rank"]) == [None, None, 9.0]


def _file(asked: pd.DataFrame, folder: Path) -> Any:
    asked.to_parquet(folder / "asked.parquet")
    return folder / "asked.parquet"


NO_ROWS = ["frame", "frame without types", "lists", "categories", "table", "polars", "file", "file of lists"]


@pytest.mark.parametrize("kind", NO_ROWS)
def test_no_entity_rows_give_no_rows_with_all_columns(tmp_path: Path, kind: str) -> None:
    """To pandas, to Arrow in the right types, and to parquet."""
    asked = ASKED[:0].assign(label=pd.Series([], dtype="float64"))
    given = {
        "frame": lambda: asked,
        "frame without types": lambda: pd.DataFrame(columns=asked.columns),
        "lists": lambda: pd.DataFrame({name: [] for name in asked.columns}),
        "file of lists": lambda: _file(pd.DataFrame({name: [] for name in asked.columns}), tmp_path),
        "categories": lambda: asked.assign(user=pd.Categorical([])),
        "table": lambda: pa.Table.from_pandas(asked, preserve_index=False),
        "polars": lambda: _polars().from_pandas(asked),
        "file": lambda: _file(asked, tmp_path),
    }[kind]()
    job = open_store(tmp_path, [STATS]).get_historical_features(entity_df=given, features=["stats:score"])
    assert job.to_df().columns.tolist() == ["user", "event_timestamp", "label", "score"]
    table = job.to_arrow()
    assert table.num_rows == 0
    assert [table.schema.field(name).type for name in ("user", "score")] == [pa.int64(), pa.float64()]
    assert pa.types.is_timestamp(table.schema.field("event_timestamp").type)
    assert job.to_parquet(tmp_path / "out.parquet") == 0
    assert pq.read_schema(tmp_path / "out.parquet").names == table.column_names


def _polars() -> Any:
    module_or_skip("polars")
    return import_module("polars")


def _polars_frames(asked: pd.DataFrame) -> dict[str, Any]:
    pl = _polars()
    frame = pl.from_pandas(asked).with_columns(
        kind=pl.Series(["x", "y", None], dtype=pl.Categorical), tags=pl.Series([["a"], [], None])
    )
    return {"frame": frame, "lazy": frame.lazy()}


@pytest.mark.parametrize("kind", ["frame", "lazy"])
def test_polars_frames_are_joined(tmp_path: Path, kind: str) -> None:
    """With all their columns, text, categories and lists of text included, in batches and to pandas."""
    view = View(
        "stats",
        ["tag"],
        ["score"],
        rows_of("tag event_timestamp score", ("a", "2020-07-05", 1.0), ("视", "2020-07-05", 2.0)),
    )
    asked = rows_of("tag event_timestamp", ("视", "2020-07-06"), ("c", "2020-07-06"), ("a", "2020-07-06"))
    given = _polars_frames(asked)[kind]
    job = open_store(tmp_path, [view], text_keys=["tag"]).get_historical_features(
        entity_df=given, features=["stats:score"]
    )
    joined = job.to_arrow()
    assert joined["tag"].to_pylist() == ["视", "c", "a"]
    assert joined["kind"].to_pylist() == ["x", "y", None]
    assert joined["tags"].to_pylist() == [["a"], [], None]
    assert joined["score"].to_pylist() == [2.0, None, 1.0]
    assert job.to_parquet(tmp_path / "out.parquet") == 3
    assert values(job.to_df()["tag"]) == ["视", "c", "a"]
    assert _polars().from_arrow(joined).shape == (3, 5)


@pytest.mark.parametrize("kind", ["batch", "reader", "relation of DuckDB"])
def test_anything_that_streams_arrow_is_a_table(tmp_path: Path, kind: str) -> None:
    """Each of them, in whatever library it was made."""
    table = pa.Table.from_pandas(ASKED, preserve_index=False)
    given: Any = {"batch": lambda: table.to_batches()[0], "reader": table.to_reader}.get(kind)
    if given is None:
        module_or_skip("duckdb")
        given = import_module("duckdb").connect().from_arrow(table)
    else:
        given = given()
    store = open_store(tmp_path, [STATS])
    job = store.get_historical_features(entity_df=given, features=["stats:score"])
    assert values(job.to_df()["score"]) == [2.0, None, 1.0]


def test_text_features_of_any_layout_are_gathered(tmp_path: Path) -> None:
    """A source's string views, which Arrow itself cannot gather."""
    view = View("stats", ["user"], ["name"], STATS.rows, text=["name"])
    rows = pa.table(
        {
            "user": [1, 2],
            "event_timestamp": pa.array([TIME] * 2, pa.timestamp("us", "UTC")),
            "name": pa.array(["one", "two"], pa.string_view()),
        }
    )
    pq.write_table(rows, tmp_path / "stats.parquet")
    store = open_store(tmp_path, [view])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:name"]).to_arrow()
    assert joined["name"].to_pylist() == ["two", None, "one"]
    store.materialize(TIME, TIME)
    assert store.get_online_features(["stats:name"], [{"user": 2}]).to_dict()["name"] == ["two"]


def test_sql_is_told_from_a_path() -> None:
    """By how it begins."""
    for query in (
        "SELECT 1",
        "  select user from x",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "(SELECT 1) UNION (SELECT 2)",
        "-- events\nselect 1",
        "/* events */ FROM stats",
        "FROM 'events.parquet'",
    ):
        assert is_sql(query), query
    for path in (
        "events.parquet",
        "/data/select",
        "select.parquet",
        "s3://from/x",
        "with/x.parquet",
        Path("a"),
    ):
        assert not is_sql(path), path


EVENTS = rows_of(
    "customer seen clicked",
    (2, "2020-07-06", True),
    (1, "2020-07-06", False),
    (1, "2020-07-04", True),
)


def _with_events(folder: Path, *, mapped: bool = False) -> Any:
    """A store with a source `events` that no view has, besides the view `stats`."""
    folder.mkdir(exist_ok=True)
    events = EVENTS.assign(seen=pd.to_datetime(EVENTS["seen"], utc=True).dt.as_unit("us"))
    events.to_parquet(folder / "events.parquet")
    view = STATS
    if mapped:
        view = View(
            "stats",
            ["user"],
            ["score"],
            STATS.rows.rename(columns={"score": "s"}),
            field_mapping=(("s", "score"),),
        )
    store = open_store(folder, [view])
    source = FileSource(name="events", path=str(folder / "events.parquet"), timestamp_field="seen")
    store.registry.apply_data_source(source, "small")
    return store


@needs("duckdb")
@pytest.mark.parametrize("table", ["events", "'events.parquet'"])
def test_sql_is_run_over_the_sources(tmp_path: Path, table: str) -> None:
    """By the name of a source, or by a path that counts from the repository."""
    store = _with_events(tmp_path)
    query = f"SELECT customer AS user, seen AS event_timestamp, clicked FROM {table} ORDER BY seen, user"
    joined = store.get_historical_features(entity_df=query, features=["stats:score"]).to_df()
    assert joined["user"].tolist() == [1, 1, 2]
    assert joined["clicked"].tolist() == [True, False, True]
    assert values(joined["score"]) == [None, 1.0, 2.0]


@needs("duckdb")
def test_sql_names_views_with_the_columns_of_their_field_mapping(tmp_path: Path) -> None:
    """So that a query says what a feature reference says; sums are keys like other whole numbers."""
    store = _with_events(tmp_path, mapped=True)
    query = """
        WITH best AS (SELECT user, max(score) AS best FROM stats GROUP BY user)
        SELECT sum(best.user) AS user, best.best, TIMESTAMP '2020-07-06' AS event_timestamp
        FROM best JOIN events ON customer = best.user AND clicked GROUP BY best.user, best.best ORDER BY 1
    """
    joined = store.get_historical_features(entity_df=query, features=["stats:score"]).to_df()
    assert [int(user) for user in joined["user"]] == [1, 2]
    assert values(joined["best"]) == values(joined["score"]) == [1.0, 2.0]


@needs("duckdb")
def test_sql_that_finds_nothing_is_no_error(tmp_path: Path) -> None:
    """As any entity dataframe without rows."""
    store = _with_events(tmp_path)
    query = "SELECT customer AS user, seen AS event_timestamp FROM events WHERE false"
    joined = store.get_historical_features(entity_df=query, features=["stats:score"]).to_df()
    assert joined.empty
    assert joined.columns.tolist() == ["user", "event_timestamp", "score"]


@needs("duckdb")
def test_sql_that_fails_is_one_line(tmp_path: Path) -> None:
    """Unknown names, variables of Python, and statements that are no queries."""
    store = _with_events(tmp_path)
    entities = ASKED  # noqa: F841
    for query, message in (
        ("SELECT * FROM nowhere", "the SQL cannot be run: .*nowhere"),
        ("SELECT * FROM entities", "the SQL cannot be run: .*entities"),
        ("SELECT user FROM", "the SQL cannot be run"),
        ("SELECT 1 AS user", "needs a column 'event_timestamp'"),
    ):
        with pytest.raises(AsOfError, match=message) as caught:
            store.get_historical_features(entity_df=query, features=["stats:score"])
        assert "\n" not in str(caught.value)


def test_sql_without_duckdb_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it, and what else may be given."""
    store = _with_events(tmp_path)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(AsOfError, match="is SQL, which needs duckdb; `pip install duckdb`"):
        store.get_historical_features(entity_df="SELECT * FROM events", features=["stats:score"])


def test_feasts_duckdb_store_has_the_same_columns_for_no_rows_at_all(tmp_path: Path) -> None:
    """Where it can answer."""
    ours, theirs = (
        open_store(tmp_path, [STATS], offline_store=store)
        .get_historical_features(entity_df=ASKED[:0].copy(), features=["stats:score"])
        .to_df()
        for store in (ASOF, DUCKDB)
    )
    assert ours.columns.tolist() == theirs.columns.tolist()
    assert len(ours) == len(theirs) == 0
