"""The join on a real Ray cluster gives the rows of the local one; the caller's process holds none of them."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from asof_fixtures import ray_cluster
from asof_fixtures.installed import with_fixtures
from asof_fixtures.many_rows import entities_of, views_of
from asof_fixtures.small_feature_repo import View, open_store, references_to, rows_of
from feast_asof import AsOfError, AsOfRetrievalJob

DRIVER = Path(__file__).parent / "asof_fixtures" / "ray_driver.py"


def _rows(dataset: Any) -> pa.Table:
    table = pa.concat_tables(batch for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    return table.sort_by("row").combine_chunks()


def _same(job: AsOfRetrievalJob) -> None:
    _equal(_rows(job.to_ray_dataset()), job.to_arrow().sort_by("row"))


def _equal(found: pa.Table, wanted: pa.Table) -> None:
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        assert found[name].combine_chunks().equals(wanted[name].combine_chunks()), name


@pytest.mark.slow
def test_a_path_of_many_files_gives_the_rows_of_the_local_job(cluster: Any, tmp_path: Path) -> None:
    views = views_of(1)
    entities = entities_of(2, 5_000).append_column("day", pa.array(np.arange(5_000) % 3))
    ds.write_dataset(
        entities, tmp_path / "entities", format="parquet", partitioning=["day"], partitioning_flavor="hive"
    )
    store = open_store(tmp_path / "repo", views)
    job = store.get_historical_features(
        entity_df=str(tmp_path / "entities"), features=references_to(views), full_feature_names=True
    )
    _same(job)


@pytest.mark.slow
def test_views_over_one_source_have_their_values(cluster: Any, tmp_path: Path) -> None:
    """After the asking process has read them, too: what it has read does not travel."""
    views = views_of(11)
    store = open_store(tmp_path / "repo", views)
    other = FeatureView(
        name="other",
        entities=[Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)],
        ttl=timedelta(days=2),
        schema=[Field(name="score", dtype=Float64)],
        source=FileSource(
            path=str(tmp_path / "repo" / "stats.parquet"),
            timestamp_field="event_timestamp",
            field_mapping={"stats_score": "score"},
        ),
    )
    store.apply([other])
    references = ["other:score", *references_to(views)]
    job = store.get_historical_features(entity_df=entities_of(12, 900), features=references)
    job.positions("stats")
    _same(job)


@pytest.mark.slow
def test_rows_in_memory_and_on_demand_features_are_joined_too(cluster: Any, tmp_path: Path) -> None:
    views = views_of(3)
    store = open_store(tmp_path / "repo", views)
    request = RequestSource(name="asked", schema=[Field(name="weight", dtype=Float64)])

    def weighted(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"weighted": inputs["stats_score"] * inputs["weight"]})

    view = on_demand_feature_view(
        sources=[store.get_feature_view("stats"), request],
        schema=[Field(name="weighted", dtype=Float64)],
        mode="pandas",
    )(weighted)
    store.apply([view])
    entities = entities_of(4, 700).append_column("weight", pa.array(np.arange(700) / 7))
    job = store.get_historical_features(
        entity_df=entities, features=[*references_to(views), "weighted:weighted"]
    )
    _same(job)


def test_a_path_is_not_read_by_the_process_that_asks(tmp_path: Path) -> None:
    views = views_of(5)
    store = open_store(tmp_path / "repo", views)
    path = tmp_path / "entities.parquet"
    pq.write_table(entities_of(6, 900), path, row_group_size=300)
    job = store.get_historical_features(entity_df=str(path), features=references_to(views))
    assert job.num_rows == 900
    path.unlink()  # who had read it would not notice
    with pytest.raises(AsOfError, match=r"entities\.parquet: cannot be read"):
        job.to_arrow()


@pytest.mark.slow
def test_a_source_that_cannot_be_read_is_one_line_before_any_row_is(cluster: Any, tmp_path: Path) -> None:
    views = views_of(7)
    store = open_store(tmp_path / "repo", views)
    job = store.get_historical_features(entity_df=entities_of(8, 10), features=references_to(views))
    (tmp_path / "repo" / "stats.parquet").unlink()
    with pytest.raises(AsOfError, match=r"feature view stats: .*stats\.parquet cannot be read"):
        job.to_ray_dataset()


@pytest.mark.slow
def test_each_source_is_read_once_before_the_rows_and_shared_by_the_actors(
    cluster: Any, tmp_path: Path
) -> None:
    views = views_of(9)
    store = open_store(tmp_path / "repo", views)
    path = tmp_path / "entities.parquet"
    pq.write_table(entities_of(10, 600_000), path, row_group_size=100_000)
    job = store.get_historical_features(entity_df=str(path), features=references_to(views))
    wanted = job.to_arrow()
    dataset = job.to_ray_dataset()
    for view in views:
        # An actor that went to the source itself would fail.
        (tmp_path / "repo" / f"{view.name}.parquet").unlink()
    _equal(_rows(dataset), wanted)


@pytest.mark.slow
def test_a_node_killed_while_it_joins_costs_no_row(cluster: Any, tmp_path: Path) -> None:
    views = views_of(11)
    store = open_store(tmp_path / "repo", views)
    path = tmp_path / "entities.parquet"
    pq.write_table(entities_of(12, 2_000_000), path, row_group_size=131_072)
    job = store.get_historical_features(entity_df=str(path), features=references_to(views))
    with ray_cluster.one_more_node(cluster) as node:
        parts = []
        for batch in job.to_ray_dataset().iter_batches(batch_size=None, batch_format="pyarrow"):
            if not parts:
                ray_cluster.wait_until_busy(node)
                cluster.remove_node(node, allow_graceful=False)
            parts.append(batch)
    _equal(pa.concat_tables(parts).sort_by("row"), job.to_arrow())


@pytest.mark.slow
def test_the_driver_s_memory_stays_flat_while_the_rows_grow(cluster: Any, tmp_path: Path) -> None:
    peaks_mb = {}
    for rows in (200_000, 8_000_000):
        pq.write_table(entities_of(14, rows), tmp_path / f"entities-{rows}.parquet", row_group_size=131_072)
        driver = [sys.executable, str(DRIVER), cluster.address, str(tmp_path), str(rows)]
        done = subprocess.run(
            driver, env=with_fixtures(), capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr
        peaks_mb[rows] = int(done.stdout.splitlines()[-1])
        assert ds.dataset(tmp_path / f"joined-{rows}").count_rows() == rows
    # The larger table alone is over 300 MB, with its two values over 400.
    assert peaks_mb[8_000_000] - peaks_mb[200_000] < 60, peaks_mb


def test_without_ray_the_job_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [
        View("stats", ["user"], ["score"], rows_of("user event_timestamp score", (1, "2026-01-01", 0.5)))
    ]
    store = open_store(tmp_path, views)
    entities = rows_of("user event_timestamp", (1, "2026-01-02"))
    job = store.get_historical_features(entity_df=entities, features=references_to(views))
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "feast_asof.on_ray", raising=False)
    with pytest.raises(AsOfError, match=r"pip install 'ray\[data\]'"):
        job.to_ray_dataset()
