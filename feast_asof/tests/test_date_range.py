"""Without an entity dataframe: every event of the views between two instants."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asof_fixtures.small_feature_repo import View, open_store, rows_of, values

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of(
        "user event_timestamp score",
        (2, "2020-07-06", 4.0),
        (1, "2020-07-05", 1.0),
        (1, "2020-07-06", 2.0),
        (1, "2020-07-07", 3.0),
    ),
)
START, END = datetime(2020, 7, 5, tzinfo=UTC), datetime(2020, 7, 6, tzinfo=UTC)


def test_both_ends_are_included_and_rows_are_in_order_of_time_and_key(tmp_path: Path) -> None:
    """Each key's events of the range, with the values known at them."""
    store = open_store(tmp_path, [STATS])
    job = store.get_historical_features(features=["stats:score"], start_date=START, end_date=END)
    joined = job.to_df()
    assert joined.columns.tolist() == ["user", "event_timestamp", "score"]
    assert joined["user"].tolist() == [1, 1, 2]
    assert joined["event_timestamp"].dt.strftime("%d").tolist() == ["05", "06", "06"]
    assert values(joined["score"]) == [1.0, 2.0, 4.0]


def test_each_edge_counts_to_the_microsecond(tmp_path: Path) -> None:
    """A microsecond outside the range is outside it."""
    store = open_store(tmp_path, [STATS])
    inside = store.get_historical_features(
        features=["stats:score"], start_date=START + timedelta.resolution, end_date=END - timedelta.resolution
    )
    assert inside.to_df().empty


def test_an_empty_range_has_no_rows_and_all_columns(tmp_path: Path) -> None:
    """To Arrow, to pandas, in batches and to parquet."""
    store = open_store(tmp_path, [STATS])
    job = store.get_historical_features(
        features=["stats:score"],
        start_date=datetime(1990, 1, 1, tzinfo=UTC),
        end_date=datetime(1990, 1, 2, tzinfo=UTC),
    )
    assert job.to_df().columns.tolist() == ["user", "event_timestamp", "score"]
    assert job.to_arrow().num_rows == 0
    assert job.to_parquet(tmp_path / "none.parquet") == 0


def test_no_rows_for_want_of_dates_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without dates Feast looks back some days from now: old data gives nothing, and one line says why."""
    store = open_store(tmp_path, [STATS])
    assert store.get_historical_features(features=["stats:score"]).to_df().empty
    (said,) = (record.getMessage() for record in caplog.records if record.name.startswith("feast_asof"))
    assert said.startswith(
        "no entity dataframe and no start_date: Feast then asks for the events of the 30 days up to end_date "
        "(or now, without one), from "
    )
    assert said.endswith("the views (stats) have none; give start_date, or both dates.")
    caplog.clear()
    dates = {"start_date": datetime(1990, 1, 1, tzinfo=UTC), "end_date": datetime(1990, 1, 2, tzinfo=UTC)}
    assert store.get_historical_features(features=["stats:score"], **dates).to_df().empty
    assert not [record for record in caplog.records if record.name.startswith("feast_asof")]


def test_no_rows_for_want_of_a_start_name_the_end_that_was_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With an end_date alone the range is named as what it is: so many days before it, by the ttl, if any."""
    lasting = View(
        "lasting", ["user"], ["rank"], STATS.rows.rename(columns={"score": "rank"}), ttl=timedelta(2)
    )
    store = open_store(tmp_path, [STATS, lasting])
    for feature, start, days in (
        ("stats:score", "2020-01-02", "30 days"),
        ("lasting:rank", "2020-01-30", "2 days"),
    ):
        caplog.clear()
        job = store.get_historical_features(features=[feature], end_date=datetime(2020, 2, 1, tzinfo=UTC))
        assert job.to_df().empty
        (said,) = (record.getMessage() for record in caplog.records if record.name.startswith("feast_asof"))
        assert said == (
            f"no entity dataframe and no start_date: Feast then asks for the events of the {days} up to "
            f"end_date (or now, without one), from {start}T00:00:00+00:00 to 2020-02-01T00:00:00+00:00, "
            f"and the views ({feature.split(':')[0]}) have none; give start_date, or both dates."
        )


def test_views_with_other_keys_share_the_events(tmp_path: Path) -> None:
    """An event of one view is joined with what the others knew then; a key it does not have is null."""
    tags = View("tags", ["tag"], ["rank"], rows_of("tag event_timestamp rank", ("a", "2020-07-06", 9.0)))
    store = open_store(tmp_path, [STATS, tags], text_keys=["tag"])
    joined = store.get_historical_features(
        features=["stats:score", "tags:rank"], start_date=START, end_date=END
    ).to_df()
    assert sorted(zip(values(joined["user"]), values(joined["tag"]), strict=True), key=str) == [
        (1.0, None),
        (1.0, None),
        (2.0, None),
        (None, "a"),
    ]
    assert sorted(values(joined["rank"]), key=str) == [9.0, None, None, None]


def test_views_with_the_same_key_share_their_instants(tmp_path: Path) -> None:
    """Events that two views have in common are one row, with both views' values as of that instant."""
    other = View(
        "other",
        ["user"],
        ["rank"],
        rows_of("user event_timestamp rank", (1, "2020-07-06", 7.0), (1, "2020-07-05 12:00", 6.0)),
    )
    store = open_store(tmp_path, [STATS, other])
    joined = store.get_historical_features(
        features=["stats:score", "other:rank"], start_date=START, end_date=END
    ).to_df()
    assert joined["user"].tolist() == [1, 1, 1, 2]
    assert values(joined["score"]) == [1.0, 1.0, 2.0, 4.0]
    assert values(joined["rank"]) == [None, 6.0, 7.0, None]


def test_without_a_start_the_range_is_as_long_as_the_longest_ttl(tmp_path: Path) -> None:
    """Feast's rule; without a ttl it is thirty days."""
    short = View("short", ["user"], ["score"], STATS.rows, ttl=timedelta(hours=30))
    store = open_store(tmp_path, [short, STATS])
    in_ttl = store.get_historical_features(
        features=["short:score"], end_date=datetime(2020, 7, 7, tzinfo=UTC)
    )
    assert in_ttl.to_df()["event_timestamp"].dt.day.tolist() == [6, 6, 7]
    in_month = store.get_historical_features(
        features=["stats:score"], end_date=datetime(2020, 8, 5, tzinfo=UTC)
    )
    assert in_month.to_df()["event_timestamp"].dt.day.tolist() == [6, 6, 7]


def test_an_entity_dataframe_and_a_range_exclude_each_other(tmp_path: Path) -> None:
    """Feast refuses both at once."""
    store = open_store(tmp_path, [STATS])
    with pytest.raises(ValueError, match="entity_df and start_date"):
        store.get_historical_features(
            entity_df=STATS.rows[["user", "event_timestamp"]], features=["stats:score"], start_date=START
        )
