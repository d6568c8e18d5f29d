"""Values of one key and one instant, and values that were written down later than they happened."""

from pathlib import Path

import pytest

from asof_fixtures.installed import needs_created_filter
from asof_fixtures.small_feature_repo import View, joined_as_duckdb_does, open_store, rows_of, values

CORRECTED = rows_of(
    "user event_timestamp created score",
    (1, "2020-07-05", "2020-07-09", 3.0),
    (1, "2020-07-05", "2020-07-06", 1.0),
    (1, "2020-07-05", "2020-07-07", 2.0),
    (1, "2020-07-04", "2020-07-30", 0.0),
)
STATS = View("stats", ["user"], ["score"], CORRECTED, created=True)
ASKED = rows_of(
    "user event_timestamp", (1, "2020-07-05"), (1, "2020-07-06 12:00"), (1, "2020-07-07"), (1, "2020-08-01")
)


def test_the_newest_created_wins_among_equal_instants(tmp_path: Path) -> None:
    """At any position in the source, the row created last is the value; the event's time comes first."""
    assert values(joined_as_duckdb_does(tmp_path, [STATS], ASKED)["score"]) == [3.0, 3.0, 3.0, 3.0]


@needs_created_filter
def test_the_created_filter_hides_what_had_not_been_written_yet(tmp_path: Path) -> None:
    """With filter_by_created_timestamp each row sees the newest value that existed at its instant, if any."""
    joined = joined_as_duckdb_does(tmp_path, [STATS], ASKED, filter_by_created_timestamp=True)
    assert values(joined["score"]) == [None, 1.0, 2.0, 3.0]


@needs_created_filter
def test_the_created_filter_steps_back_to_an_older_event_but_never_to_another_key(tmp_path: Path) -> None:
    """Backfilled rows are skipped one by one down to the first of the key."""
    source = rows_of(
        "user event_timestamp created score",
        (1, "2020-07-01", "2020-07-01", 1.0),
        (2, "2020-07-01", "2020-08-01", 2.0),
        (3, "2020-07-01", "2020-07-01", 3.0),
        (3, "2020-07-02", "2020-08-01", 4.0),
        (3, "2020-07-03", "2020-08-01", 5.0),
    )
    entities = rows_of("user event_timestamp", (2, "2020-07-05"), (3, "2020-07-05"), (3, "2020-08-01"))
    view = View("stats", ["user"], ["score"], source, created=True)
    joined = joined_as_duckdb_does(tmp_path, [view], entities, filter_by_created_timestamp=True)
    assert values(joined["score"]) == [None, 3.0, 5.0]


@needs_created_filter
def test_the_created_filter_leaves_views_without_a_created_column_alone(tmp_path: Path) -> None:
    """As Feast documents it."""
    source = rows_of("user event_timestamp value", (1, "2020-07-05", 7.0))
    views = [STATS, View("other", ["user"], ["value"], source)]
    joined = joined_as_duckdb_does(tmp_path, views, ASKED[:1], filter_by_created_timestamp=True)
    assert (values(joined["score"]), values(joined["value"])) == ([None], [7.0])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_without_created_loses_to_one_that_has_it(tmp_path: Path, reverse: bool) -> None:
    """A null created is older than any."""
    source = rows_of(
        "user event_timestamp created score",
        (1, "2020-07-05", "2020-07-06", 1.0),
        (1, "2020-07-05", None, 2.0),
    )
    view = View("stats", ["user"], ["score"], source[::-1] if reverse else source, created=True)
    assert values(joined_as_duckdb_does(tmp_path, [view], ASKED[:1])["score"]) == [1.0]


def test_the_last_row_of_the_source_wins_where_nothing_else_decides(tmp_path: Path) -> None:
    """Rows with the same key, instant and created have an answer that does not change from run to run."""
    source = rows_of(
        "user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2020-07-05", 9.0), (1, "2020-07-05", 2.0)
    )
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], source)])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [2.0] * 4
