"""Which value counts as known at an entity row's instant."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asof_fixtures.made_up import BASE, QUICK
from asof_fixtures.small_feature_repo import View, joined_as_duckdb_does, open_store, rows_of, values


def test_a_value_counts_from_its_own_instant_on(tmp_path: Path) -> None:
    """The join is inclusive: known at 12:00 means known to a row of 12:00, and not a microsecond earlier."""
    source = rows_of("user event_timestamp score", (1, "2020-07-05 12:00", 1.0), (1, "2020-07-05 13:00", 2.0))
    entities = rows_of(
        "user event_timestamp",
        (1, "2020-07-05 11:59:59.999999"),
        (1, "2020-07-05 12:00"),
        (1, "2020-07-05 12:59:59.999999"),
        (1, "2020-07-05 13:00"),
    )
    view = View("stats", ["user"], ["score"], source)
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [None, 1.0, 1.0, 2.0]


def test_a_row_whose_key_lies_in_the_future_or_nowhere_comes_back_with_nulls(tmp_path: Path) -> None:
    """Feast's dask store drops such rows; nothing is dropped here."""
    source = rows_of("user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2021-01-01", 2.0))
    entities = rows_of("user event_timestamp", (2, "2020-07-06"), (3, "2020-07-06"), (1, "2020-07-06"))
    view = View("stats", ["user"], ["score"], source)
    assert values(joined_as_duckdb_does(tmp_path, [view], entities)["score"]) == [None, None, 1.0]


def test_a_null_value_is_the_newest_value(tmp_path: Path) -> None:
    """A feature that became null is null; the older value does not shine through."""
    source = rows_of("user event_timestamp score", (1, "2020-07-04", 1.0), (1, "2020-07-05", None))
    view = View("stats", ["user"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], rows_of("user event_timestamp", (1, "2020-07-06")))
    assert values(joined["score"]) == [None]


def test_a_source_without_rows_gives_nulls(tmp_path: Path) -> None:
    """An empty source is a source of which nothing is known yet."""
    source = rows_of("user event_timestamp score", (1, "2020-07-04", 1.0)).iloc[:0]
    view = View("stats", ["user"], ["score"], source)
    joined = joined_as_duckdb_does(tmp_path, [view], rows_of("user event_timestamp", (1, "2020-07-06")))
    assert values(joined["score"]) == [None]


HOURS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), min_size=1, max_size=12)


@settings(QUICK, max_examples=25)
@given(known=HOURS, asked=HOURS, later=HOURS)
def test_rows_out_are_rows_in_and_values_from_the_future_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    known: list[tuple[int, int]],
    asked: list[tuple[int, int]],
    later: list[tuple[int, int]],
) -> None:
    """Adding values a microsecond after the last entity row, or later, leaves every answer as it was."""
    entities = rows_of(
        "user event_timestamp", *((user, str(BASE + pd.Timedelta(hours=hour))) for user, hour in asked)
    )
    first_unseen = entities["event_timestamp"].max() + pd.Timedelta(microseconds=1)
    past = rows_of(
        "user event_timestamp score",
        *((user, str(BASE + pd.Timedelta(hours=hour)), float(at)) for at, (user, hour) in enumerate(known)),
    )
    future = rows_of(
        "user event_timestamp score",
        *((user, str(first_unseen + pd.Timedelta(hours=hour)), -1.0) for user, hour in later),
    )
    answers = []
    for source in (
        past,
        pd.concat([past, future], ignore_index=True),
        pd.concat([future, past], ignore_index=True),
    ):
        folder = tmp_path_factory.mktemp("future")
        store = open_store(folder, [View("stats", ["user"], ["score"], source)])
        answers.append(store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df())
    assert len(answers[0]) == len(entities)
    pd.testing.assert_frame_equal(answers[0][entities.columns.tolist()], entities)
    pd.testing.assert_frame_equal(answers[1], answers[0])
    pd.testing.assert_frame_equal(answers[2], answers[0])
