"""On-demand feature views: computed from joined values and from columns of the entity dataframe."""

from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureStore, Field, RequestSource
from feast.errors import RequestDataNotFoundInEntityDfException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from asof_fixtures.small_feature_repo import (
    ASOF,
    DUCKDB,
    View,
    assert_same_rows,
    open_store,
    rows_of,
    values,
)
from feast_asof import AsOfError

STATS = View(
    "stats",
    ["user"],
    ["score", "clicks"],
    rows_of("user event_timestamp score clicks", (1, "2020-07-05", 1.0, 3.0), (2, "2020-07-05", 2.0, 4.0)),
)
ENTITIES = rows_of(
    "user event_timestamp weight row",
    (2, "2020-07-06", 10.0, 0),
    (1, "2020-07-06", 100.0, 1),
    (9, "2020-07-06", 1.0, 2),
)


def _store(folder: Path, offline_store: str = ASOF) -> FeatureStore:
    store = open_store(folder, [STATS], offline_store=offline_store)

    @on_demand_feature_view(
        sources=[
            store.get_feature_view("stats"),
            RequestSource(name="asked", schema=[Field(name="weight", dtype=Float64)]),
        ],
        schema=[Field(name="weighted", dtype=Float64), Field(name="doubled", dtype=Float64)],
        mode="pandas",
    )
    def derived(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["weighted"] = inputs["score"] * inputs["weight"]
        out["doubled"] = inputs["score"] * 2
        return out

    store.apply([derived])
    return store


@pytest.mark.parametrize("full_feature_names", [False, True])
def test_on_demand_features_are_computed_as_with_feasts_duckdb_store(
    tmp_path: Path, full_feature_names: bool
) -> None:
    """The derived column is there beside its inputs, null where they are."""
    ours, duckdb = (
        _store(tmp_path, offline_store)
        .get_historical_features(
            entity_df=ENTITIES,
            features=["stats:score", "derived:weighted"],
            full_feature_names=full_feature_names,
        )
        .to_df()
        for offline_store in (ASOF, DUCKDB)
    )
    assert_same_rows(ours, duckdb)
    assert values(ours["derived__weighted" if full_feature_names else "weighted"]) == [20.0, 100.0, None]
    assert not {"doubled", "derived__doubled"} & set(ours.columns)


@pytest.mark.parametrize("max_rows", [1, 2, 3, 100])
def test_batches_carry_on_demand_features_and_take_leaves_them_out(tmp_path: Path, max_rows: int) -> None:
    """Whatever the size of a batch, the sum of the batches is the whole table."""
    job = _store(tmp_path).get_historical_features(
        entity_df=ENTITIES, features=["stats:score", "derived:weighted"]
    )
    batched = pd.concat([batch.to_pandas() for batch in job.to_arrow_batches(max_rows)], ignore_index=True)
    pd.testing.assert_frame_equal(batched, job.to_df())
    assert "weighted" in batched
    assert "weighted" not in job.take(slice(None)).column_names


def test_a_request_column_that_is_missing_is_named(tmp_path: Path) -> None:
    """Feast says so for a pandas frame; we say so for Arrow too, when the join is asked for."""
    import pyarrow as pa

    store = _store(tmp_path)
    entities = ENTITIES.drop(columns="weight")
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="weight"):
        store.get_historical_features(entity_df=entities, features=["derived:weighted"])
    with pytest.raises(AsOfError, match="on-demand feature view derived: request column 'weight' is not in"):
        store.get_historical_features(entity_df=pa.Table.from_pandas(entities), features=["derived:weighted"])
