"""How views, keys and features are called: aliases, join-key maps, field mappings, full names, services."""

from pathlib import Path

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.errors import FeatureNameCollisionError
from feast.types import Float64

from asof_fixtures.small_feature_repo import (
    ASOF,
    DUCKDB,
    View,
    assert_same_rows,
    joined_as_duckdb_does,
    open_store,
    rows_of,
    values,
    write_parquet,
)

SCORES = View(
    "stats",
    ["user"],
    ["score", "clicks"],
    rows_of(
        "user event_timestamp score clicks",
        (1, "2020-07-05", 1.0, 10.0),
        (2, "2020-07-05", 2.0, 20.0),
        (2, "2020-07-06", 3.0, 30.0),
    ),
)
PAIRS = rows_of(
    "buyer seller event_timestamp", (1, 2, "2020-07-05 12:00"), (2, 1, "2020-07-06"), (2, 3, "2020-07-06")
)


def _two_sides(store: FeatureStore) -> FeatureService:
    view = store.get_feature_view("stats")
    buyer = view.with_name("of_buyer").with_join_key_map({"user": "buyer"})
    seller = view.with_name("of_seller").with_join_key_map({"user": "seller"})
    return FeatureService(name="sides", features=[buyer[["score"]], seller[["score", "clicks"]]])


def _both(folder: Path, views: list[View]) -> list[FeatureStore]:
    return [open_store(folder, views, offline_store=offline_store) for offline_store in (ASOF, DUCKDB)]


def test_two_views_of_one_source_join_on_keys_of_their_own(tmp_path: Path) -> None:
    """An alias with a join-key map reads the buyer's and the seller's score from the same parquet."""
    entities = PAIRS.assign(row=range(len(PAIRS)))
    answers = []
    for store in _both(tmp_path, [SCORES]):
        service = _two_sides(store)
        store.apply([service])
        answers.append(
            store.get_historical_features(
                entity_df=entities, features=service, full_feature_names=True
            ).to_df()
        )
    ours, duckdb = answers
    assert_same_rows(ours, duckdb)
    assert values(ours["of_buyer__score"]) == [1.0, 3.0, 3.0]
    assert values(ours["of_seller__score"]) == [2.0, 1.0, None]
    assert values(ours["of_seller__clicks"]) == [20.0, 10.0, None]


@pytest.mark.parametrize("full_feature_names", [False, True])
def test_features_are_named_as_feast_names_them(tmp_path: Path, full_feature_names: bool) -> None:
    """`feature`, or `view__feature` with full_feature_names, in the order of the request."""
    entities = rows_of("user event_timestamp", (2, "2020-07-06"))
    joined = joined_as_duckdb_does(tmp_path, [SCORES], entities, full_feature_names=full_feature_names)
    prefix = "stats__" if full_feature_names else ""
    assert joined.columns.tolist() == ["user", "event_timestamp", f"{prefix}score", f"{prefix}clicks"]


def test_equal_feature_names_of_two_views_need_full_names(tmp_path: Path) -> None:
    """Feast refuses the clash; with full names each view's column is there."""
    views = [
        SCORES,
        View("other", ["user"], ["score"], rows_of("user event_timestamp score", (2, "2020-07-05", 7.0))),
    ]
    entities = rows_of("user event_timestamp", (2, "2020-07-06"))
    joined = joined_as_duckdb_does(tmp_path, views, entities, full_feature_names=True)
    assert (joined["stats__score"][0], joined["other__score"][0]) == (3.0, 7.0)
    with pytest.raises(FeatureNameCollisionError, match="score"):
        open_store(tmp_path, views).get_historical_features(
            entity_df=entities, features=["stats:score", "other:score"]
        )


def test_the_order_of_the_request_is_the_order_of_the_columns(tmp_path: Path) -> None:
    """References may come in any order, and mix views."""
    other = View("other", ["user"], ["rank"], rows_of("user event_timestamp rank", (2, "2020-07-05", 7.0)))
    entities = rows_of("user event_timestamp", (2, "2020-07-06")).assign(row=0)
    references = ["other:rank", "stats:clicks", "stats:score"]
    ours, duckdb = (
        store.get_historical_features(entity_df=entities, features=references).to_df()
        for store in _both(tmp_path, [SCORES, other])
    )
    assert_same_rows(ours, duckdb)
    assert ours.columns.tolist()[-3:] == ["rank", "clicks", "score"]


def test_a_feature_service_is_its_features(tmp_path: Path) -> None:
    """A stored service and its references give the same frame."""
    store = open_store(tmp_path, [SCORES])
    service = FeatureService(name="training", features=[store.get_feature_view("stats")[["clicks"]]])
    store.apply([service])
    entities = rows_of("user event_timestamp", (1, "2020-07-06"))
    by_service = store.get_historical_features(
        entity_df=entities, features=store.get_feature_service("training")
    )
    by_reference = store.get_historical_features(entity_df=entities, features=["stats:clicks"])
    pd.testing.assert_frame_equal(by_service.to_df(), by_reference.to_df())
    assert values(by_service.to_df()["clicks"]) == [10.0]


@pytest.mark.parametrize("full_feature_names", [False, True])
def test_a_field_mapping_renames_features_keys_and_times(tmp_path: Path, full_feature_names: bool) -> None:
    """Feature, key, timestamp and created are asked for by their new names only."""
    frame = rows_of(
        "user event_timestamp created score",
        (1, "2020-07-05", "2020-07-05", 1.0),
        (1, "2020-07-06", "2020-07-07", 2.0),
        (1, "2020-07-06", "2020-07-06", 3.0),
    ).set_axis(["uid", "ts", "made", "s"], axis=1)
    path = write_parquet(frame, tmp_path / "mapped.parquet")
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    view = FeatureView(
        name="stats",
        entities=[user],
        schema=[Field(name="score", dtype=Float64)],
        source=FileSource(
            name="mapped",
            path=str(path),
            timestamp_field="happened",
            created_timestamp_column="written",
            field_mapping={"uid": "user", "ts": "happened", "made": "written", "s": "score"},
        ),
    )
    entities = rows_of("user event_timestamp", (1, "2020-07-05 12:00"), (1, "2020-07-08")).assign(row=[0, 1])
    answers = []
    for store in _both(tmp_path, []):
        store.apply([user, view])
        job = store.get_historical_features(
            entity_df=entities, features=["stats:score"], full_feature_names=full_feature_names
        )
        answers.append(job.to_df())
    assert_same_rows(*answers)
    assert values(answers[0]["stats__score" if full_feature_names else "score"]) == [1.0, 2.0]
