"""Views over one source read it once and share its index and what is found in it."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

from asof_fixtures.installed import needs_created_filter
from asof_fixtures.small_feature_repo import (
    ASOF,
    DUCKDB,
    assert_same_rows,
    open_store,
    rows_of,
    values,
    write_parquet,
)
from feast_asof import AsOfRetrievalJob

ROWS = rows_of(
    "user shop event_timestamp created a b",
    (1, 7, "2026-01-01", "2026-01-01", 1.0, 10.0),
    (1, 7, "2026-01-03", "2026-01-03", 2.0, 20.0),
    (1, 7, "2026-01-03", "2026-01-09", 3.0, 30.0),
    (2, 8, "2026-01-02", "2026-01-02", 4.0, 40.0),
)
ASKED = rows_of(
    "user shop customer event_timestamp",
    (1, 7, 2, "2026-01-04"),
    (2, 8, 1, "2026-01-20"),
    (1, 8, 9, "2025-01-01"),
)
USER = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
CUSTOMER = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)


def _view(
    name: str,
    path: str,
    features: Sequence[str],
    keys: Sequence[Entity] = (USER,),
    ttl: timedelta = timedelta(),
    **source: Any,
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=list(keys),
        ttl=ttl,
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(
            name=f"{name}_source", path=path, **{"timestamp_field": "event_timestamp", **source}
        ),
    )


def _applied(folder: Path, views: Sequence[FeatureView], offline_store: str = ASOF) -> FeatureStore:
    store = open_store(folder, [], offline_store=offline_store)
    store.apply([USER, SHOP, CUSTOMER, *views])
    return store


def _job(store: FeatureStore, views: Sequence[FeatureView], asked: Any = ASKED, **options: Any) -> Any:
    references = [f"{view.name}:{field.name}" for view in views for field in view.features]
    return store.get_historical_features(
        entity_df=asked, features=references, full_feature_names=True, **options
    )


def _views(path: str) -> list[FeatureView]:
    """Of the same rows: other columns, ttl, names, keys and timestamps; only the first two find the same."""
    return [
        _view("plain", path, ["a"]),
        _view("alike", path, ["a", "b"]),
        _view("short", path, ["b"], ttl=timedelta(days=5)),
        _view("mapped", path, ["score"], field_mapping={"b": "score"}),
        _view("renamed", path, ["a"], [CUSTOMER], field_mapping={"user": "customer"}),
        _view("pairs", path, ["b"], [USER, SHOP]),
        _view("tied", path, ["b"], created_timestamp_column="created"),
        _view("by_created", path, ["a"], timestamp_field="created"),
    ]


def test_every_view_has_the_values_that_it_has_alone(tmp_path: Path) -> None:
    """As Feast's DuckDB store says them, too."""
    views = _views(str(write_parquet(ROWS, tmp_path / "rows.parquet")))
    asked = ASKED.assign(row=range(len(ASKED)))
    ours, duckdb = (
        _job(_applied(tmp_path / store, views, store), views, asked).to_df() for store in (ASOF, DUCKDB)
    )
    assert_same_rows(ours, duckdb)
    alone = _applied(tmp_path / "alone", views)
    for view in views:
        one = _job(alone, [view]).to_df()
        for name in one.columns[len(ASKED.columns) :]:
            assert values(one[name]) == values(ours[name]), name


@needs_created_filter
def test_created_timestamps_filter_every_view(tmp_path: Path) -> None:
    """A value that had not been created is found by no view that says when values are."""
    views = _views(str(write_parquet(ROWS, tmp_path / "rows.parquet")))
    joined = _job(_applied(tmp_path, views), views, filter_by_created_timestamp=True).to_df()
    assert values(joined["tied__b"]) == [20.0, 40.0, None]
    assert values(joined["plain__a"]) == [3.0, 4.0, None]


def test_a_source_is_read_once_for_all_its_views(tmp_path: Path) -> None:
    """When the first has been read, the file may go."""
    path = write_parquet(ROWS, tmp_path / "rows.parquet")
    views = _views(str(path))
    job = _job(_applied(tmp_path, views), views)
    assert isinstance(job, AsOfRetrievalJob)
    job.positions("plain")
    path.unlink()
    assert values(job.to_df()["pairs__b"]) == [30.0, 40.0, None]


def test_the_same_file_by_other_paths_is_the_same_source(tmp_path: Path) -> None:
    """Relative, absolute or by a link."""
    path = write_parquet(ROWS, tmp_path / "rows.parquet")
    (tmp_path / "link.parquet").symlink_to(path)
    paths = [
        str(path),
        "rows.parquet",
        str(tmp_path / "link.parquet"),
        str(tmp_path / "x" / ".." / "rows.parquet"),
    ]
    (tmp_path / "x").mkdir()
    views = [_view(f"view_{number}", name, ["a"]) for number, name in enumerate(paths)]
    job = _job(_applied(tmp_path, views), views)
    first = job.positions("view_0")
    path.unlink()
    assert all(np.shares_memory(job.positions(view.name), first) for view in views)


def test_views_that_find_alike_share_rows_and_columns(tmp_path: Path) -> None:
    """One array of positions, one copy of a column; another ttl finds for itself, over the same column."""
    views = _views(str(write_parquet(ROWS, tmp_path / "rows.parquet")))
    job = _job(_applied(tmp_path, views), views)
    assert np.shares_memory(job.positions("plain"), job.positions("mapped"))
    assert not np.shares_memory(job.positions("plain"), job.positions("short"))
    assert job.positions("short").tolist() == [2, -1, -1]
    addresses = {
        job.source_column(*column).buffers()[1].address
        for column in [("alike", "b"), ("short", "b"), ("mapped", "score"), ("tied", "b")]
    }
    assert len(addresses) == 1


def test_an_index_is_made_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The warning about rows without a time, which indexing gives, comes once for twenty views."""
    rows = ROWS.assign(event_timestamp=ROWS["event_timestamp"].where(ROWS["a"] > 1))
    path = str(write_parquet(rows, tmp_path / "rows.parquet"))
    views = [_view(f"view_{number}", path, ["a", "b"]) for number in range(20)]
    joined = _job(_applied(tmp_path, views), views).to_df()
    assert {tuple(joined[f"view_{number}__a"].iloc[:2]) for number in range(20)} == {(3.0, 4.0)}
    assert sum("left out 1 of 4 rows" in record.getMessage() for record in caplog.records) == 1


def test_events_of_a_date_range_are_those_of_all_views(tmp_path: Path) -> None:
    """Views that share a source have the same events; those by another key have others."""
    views = _views(str(write_parquet(ROWS, tmp_path / "rows.parquet")))
    start, end = pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-01-31", tz="UTC")
    options = {"start_date": start, "end_date": end}
    together = _job(_applied(tmp_path, views), views[:4], None, **options).to_df()
    assert values(together["plain__a"]) == [1.0, 4.0, 3.0]
    assert values(together["short__b"]) == [10.0, 40.0, 30.0]
    both = _job(_applied(tmp_path, views), [views[0], views[4]], None, **options).to_df()
    assert len(both) == 6
