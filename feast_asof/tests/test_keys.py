"""What rows are joined on: one key, several, none, numbers of any width, and text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asof_fixtures.small_feature_repo import (
    ASOF,
    View,
    joined_as_duckdb_does,
    open_store,
    rows_of,
    values,
)


def test_composite_keys_match_as_a_whole(tmp_path: Path) -> None:
    """A pair that the source does not have is not made up from its halves."""
    source = rows_of(
        "user tag event_timestamp score",
        (1, 23, "2020-07-05", 1.0),
        (12, 3, "2020-07-05", 2.0),
        (1, 3, "2020-07-05", 3.0),
        (2, 2, "2020-07-05", 4.0),
    )
    entities = rows_of(
        "tag user event_timestamp",
        (23, 1, "2020-07-06"),
        (3, 12, "2020-07-06"),
        (23, 12, "2020-07-06"),
        (3, 1, "2020-07-06"),
        (2, 2, "2020-07-06"),
        (1, 3, "2020-07-06"),
    )
    view = View("stats", ["user", "tag"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities)
    assert values(joined["score"]) == [1.0, 2.0, None, 3.0, 4.0, None]


def test_three_keys_of_mixed_types(tmp_path: Path) -> None:
    """Text and numbers together, in whatever order the entity dataframe has them."""
    source = rows_of(
        "user tag hour event_timestamp score",
        (1, "a", 7, "2020-07-05", 1.0),
        (1, "a", 8, "2020-07-05", 2.0),
        (1, "ab", 7, "2020-07-05", 3.0),
    )
    entities = rows_of(
        "hour tag event_timestamp user",
        (8, "a", "2020-07-06", 1),
        (7, "ab", "2020-07-06", 1),
        (8, "ab", "2020-07-06", 1),
    )
    view = View("stats", ["user", "tag", "hour"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities, text_keys=["tag"])
    assert values(joined["score"]) == [2.0, 3.0, None]


def test_five_keys_of_many_values_each_are_not_confused(tmp_path: Path) -> None:
    """Twenty thousand values in each of five columns: their combinations are more than int64 has numbers."""
    rows = 20_000
    source = pd.DataFrame(
        {key: (np.arange(rows) * step) % rows for key, step in zip("abcde", (1, 3, 7, 9, 11), strict=True)}
    )
    source["event_timestamp"] = rows_of("event_timestamp", ("2020-07-05",))["event_timestamp"][0]
    source["score"] = np.arange(float(rows))
    entities = source.drop(columns="score").iloc[::-7].reset_index(drop=True)
    view = View("stats", list("abcde"), ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities)
    assert values(joined["score"]) == source["score"].iloc[::-7].tolist()


def test_text_keys_compare_by_code_point(tmp_path: Path) -> None:
    """Case, spaces, the empty text and other scripts are all kept apart."""
    source = rows_of(
        "tag event_timestamp score",
        ("a", "2020-07-05", 1.0),
        ("A", "2020-07-05", 2.0),
        ("a ", "2020-07-05", 3.0),
        ("", "2020-07-05", 4.0),
        ("视频", "2020-07-05", 5.0),
    )
    entities = rows_of(
        "tag event_timestamp", *((tag, "2020-07-06") for tag in ["视频", "", "a ", "A", "a", "b"])
    )
    view = View("stats", ["tag"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities, text_keys=["tag"])
    assert values(joined["score"]) == [5.0, 4.0, 3.0, 2.0, 1.0, None]


@pytest.mark.parametrize("width", ["int8", "int16", "int32", "uint8", "uint32", "Int64"])
def test_whole_numbers_of_any_width_match(tmp_path: Path, width: str) -> None:
    """An int32 in the entity dataframe equals an int64 in the source."""
    source = rows_of("user event_timestamp score", (1, "2020-07-05", 1.0), (100, "2020-07-05", 2.0))
    entities = rows_of("user event_timestamp", (100, "2020-07-06"), (7, "2020-07-06"))
    entities["user"] = entities["user"].astype(width)
    view = View("stats", ["user"], ["score"], source)
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [2.0, None]


def test_large_and_negative_numbers_keep_every_digit(tmp_path: Path) -> None:
    """Ids beyond 2^53, which a float cannot hold, are not confused with their neighbours."""
    big = 2**53
    source = rows_of(
        "user event_timestamp score",
        (big, "2020-07-05", 1.0),
        (big + 1, "2020-07-05", 2.0),
        (-1, "2020-07-05", 3.0),
    )
    entities = rows_of(
        "user event_timestamp", (big + 1, "2020-07-06"), (-1, "2020-07-06"), (big, "2020-07-06")
    )
    view = View("stats", ["user"], ["score"], source)
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [2.0, 3.0, 1.0]


def test_categorical_text_is_text(tmp_path: Path) -> None:
    """A pandas category or Arrow dictionary joins by its values, not by its codes."""
    source = rows_of("tag event_timestamp score", ("b", "2020-07-05", 1.0), ("a", "2020-07-05", 2.0))
    entities = rows_of("tag event_timestamp", ("a", "2020-07-06"), ("b", "2020-07-06"))
    entities["tag"] = entities["tag"].astype("category")
    store = open_store(tmp_path, [View("stats", ["tag"], ["score"], source)], text_keys=["tag"])
    joined = store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [2.0, 1.0]


def test_a_null_key_matches_nothing(tmp_path: Path) -> None:
    """Neither side's null equals anything, as in SQL; the row comes back with nulls."""
    source = rows_of("tag event_timestamp score", ("a", "2020-07-05", 1.0), (None, "2020-07-05", 2.0))
    entities = rows_of("tag event_timestamp", (None, "2020-07-06"), ("a", "2020-07-06"))
    view = View("stats", ["tag"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities, text_keys=["tag"])
    assert values(joined["score"]) == [None, 1.0]


@pytest.mark.parametrize("null_in", ["entity dataframe", "source", "both"])
def test_a_key_that_is_null_everywhere_matches_nothing(tmp_path: Path, null_in: str) -> None:
    """A column of nulls has no type of its own that could differ from the other side's."""
    source = rows_of(
        "tag event_timestamp score", ("a" if null_in == "entity dataframe" else None, "2020-07-05", 1.0)
    )
    entities = rows_of("tag event_timestamp", ("a" if null_in == "source" else None, "2020-07-06"))
    store = open_store(tmp_path, [View("stats", ["tag"], ["score"], source)], text_keys=["tag"])
    joined = store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [None]


def test_many_keys_and_instants_are_searched_as_rightly_as_few(tmp_path: Path) -> None:
    """A thousand random keys over random instants, as DuckDB has them."""
    random = np.random.default_rng(3)
    start = pd.Timestamp("2020-07-05", tz="UTC")

    def moments(count: int) -> pd.Series:
        return pd.Series(start + pd.to_timedelta(random.integers(0, 10**12, count), unit="us")).dt.as_unit(
            "us"
        )

    source = pd.DataFrame({"user": random.integers(0, 1000, 5000), "event_timestamp": moments(5000)})
    source["score"] = np.arange(5000.0)
    source = source.drop_duplicates(["user", "event_timestamp"])
    entities = pd.DataFrame({"user": random.integers(0, 1100, 3000), "event_timestamp": moments(3000)})
    view = View("stats", ["user"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], entities)
    assert 0 < joined["score"].isna().sum() < 3000


ENTITYLESS = View(
    "of_all", [], ["load"], rows_of("event_timestamp load", ("2020-07-05", 1.0), ("2020-07-06", 2.0))
)


def test_a_view_without_entities_joins_on_time_alone(tmp_path: Path) -> None:
    """Every row gets the newest value, whatever its key, and needs none."""
    of_user = View(
        "stats", ["user"], ["score"], rows_of("user event_timestamp score", (1, "2020-07-05", 5.0))
    )
    entities = rows_of("user event_timestamp", (1, "2020-07-05 12:00"), (2, "2020-07-06"), (1, "2020-07-04"))
    joined = joined_as_duckdb_does(tmp_path, [ENTITYLESS, of_user], entities)
    assert values(joined["load"]) == [1.0, 2.0, None]
    assert values(joined["score"]) == [5.0, None, None]


def test_a_view_without_entities_needs_nothing_but_times(tmp_path: Path) -> None:
    """An entity dataframe of one column is enough."""
    times = rows_of("event_timestamp", ("2020-07-06 12:00",), ("2020-07-05",))
    assert values(joined_as_duckdb_does(tmp_path, [ENTITYLESS], times)["load"]) == [2.0, 1.0]


def test_the_store_under_test_is_ours(tmp_path: Path) -> None:
    """The type in the configuration chooses the store."""
    from feast_asof import AsOfRetrievalJob

    store = open_store(tmp_path, [ENTITYLESS], offline_store=ASOF)
    entities = rows_of("event_timestamp", ("2020-07-05 12:00",))
    job = store.get_historical_features(entity_df=entities, features=["of_all:load"])
    assert isinstance(job, AsOfRetrievalJob)
