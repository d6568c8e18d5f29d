"""How old a value may be."""

from datetime import timedelta
from pathlib import Path

import pytest

from asof_fixtures.small_feature_repo import View, joined_as_duckdb_does, open_store, rows_of, values

SOURCE = rows_of("user event_timestamp score", (1, "2020-07-05 12:00:00", 1.0), (2, "2019-01-01", 2.0))


def test_value_exactly_as_old_as_its_ttl_is_valid(tmp_path: Path) -> None:
    """A ttl of an hour keeps a value through the sixtieth minute's last microsecond, and the edge itself."""
    entities = rows_of(
        "user event_timestamp",
        (1, "2020-07-05 12:59:59.999999"),
        (1, "2020-07-05 13:00:00"),
        (1, "2020-07-05 13:00:00.000001"),
    )
    view = View("stats", ["user"], ["score"], SOURCE, ttl=timedelta(hours=1))
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [1.0, 1.0, None]


def test_ttl_of_zero_is_for_ever(tmp_path: Path) -> None:
    """Without a ttl a value holds until the next one, however many years pass."""
    entities = rows_of("user event_timestamp", (1, "2120-07-05"), (2, "2020-07-05"))
    view = View("stats", ["user"], ["score"], SOURCE, ttl=timedelta())
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [1.0, 2.0]


def test_an_expired_value_leaves_a_null_and_no_older_value_takes_its_place(tmp_path: Path) -> None:
    """Rows whose only values have expired come back, with nulls."""
    source = rows_of(
        "user event_timestamp score", (1, "2020-07-01", 1.0), (1, "2020-07-02", 2.0), (1, "2020-07-09", 3.0)
    )
    entities = rows_of("user event_timestamp", (1, "2020-07-03"), (1, "2020-07-05"), (1, "2020-07-09"))
    view = View("stats", ["user"], ["score"], source, ttl=timedelta(days=2))
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [2.0, None, 3.0]


@pytest.mark.parametrize("ttl", [timedelta(microseconds=1), timedelta(days=400)])
def test_a_ttl_counts_to_the_microsecond(tmp_path: Path, ttl: timedelta) -> None:
    """Neither a very short nor a very long ttl is rounded."""
    known = SOURCE["event_timestamp"][0]
    edges = rows_of(
        "user event_timestamp", (1, str(known + ttl)), (1, str(known + ttl + timedelta.resolution))
    )
    view = View("stats", ["user"], ["score"], SOURCE, ttl=ttl)
    assert values(joined_as_duckdb_does(tmp_path, [view], edges)["score"]) == [1.0, None]


def test_a_ttl_of_days_and_microseconds_is_one_sum(tmp_path: Path) -> None:
    """Feast's DuckDB store refuses such a ttl (`mixed units`); here it is a length of time as any other."""
    ttl = timedelta(days=400, microseconds=3)
    known = SOURCE["event_timestamp"][0]
    edges = rows_of(
        "user event_timestamp", (1, str(known + ttl)), (1, str(known + ttl + timedelta.resolution))
    )
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], SOURCE, ttl=ttl)])
    joined = store.get_historical_features(entity_df=edges, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [1.0, None]


def test_each_view_has_its_own_ttl(tmp_path: Path) -> None:
    """One view's value may have expired where another's of the same instant has not."""
    views = [
        View("short", ["user"], ["a"], SOURCE.rename(columns={"score": "a"}), ttl=timedelta(hours=1)),
        View("long", ["user"], ["b"], SOURCE.rename(columns={"score": "b"}), ttl=timedelta(days=1)),
    ]
    joined = joined_as_duckdb_does(tmp_path, views, rows_of("user event_timestamp", (1, "2020-07-05 20:00")))
    assert (values(joined["a"]), values(joined["b"])) == ([None], [1.0])
