"""`feast monitor run` and its functions: the same metrics as Feast's own file stores."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    ValueType,
)
from feast.data_format import ParquetFormat
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.types import Array, Bool, Float64, Int64, String
from packaging.version import Version

from asof_fixtures.installed import FEAST, HAS_REFERENCE, NO_REFERENCE, with_fixtures
from asof_fixtures.small_feature_repo import ASOF, DUCKDB
from feast_asof import AsOfError, AsOfOfflineStore

monitoring = pytest.importorskip("feast.monitoring.monitoring_service", reason="Feast 0.64 and later")
MonitoringService = monitoring.MonitoringService
DASK = "dask"
NOW = datetime(2020, 7, 31, tzinfo=UTC)
FEATURES = {"score": Float64, "plays": Int64, "country": String, "active": Bool, "price": Float64}


def _rows() -> pa.Table:
    """A hundred days of rows with nulls, one for most hours, the newest at NOW."""
    random = np.random.default_rng(5)
    rows = 400
    times = [NOW - timedelta(hours=6 * row) for row in range(rows)]
    return pa.table(
        {
            "user": np.arange(rows) % 7,
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "score": pa.array(random.normal(size=rows), mask=random.random(rows) < 0.2),
            "plays": pa.array(random.integers(0, 1000, rows), pa.int32()),
            "country": pa.array(random.choice(["at", "de", "ch", "it"], rows, p=[0.5, 0.3, 0.15, 0.05])),
            "active": pa.array(random.random(rows) < 0.7),
            "price": pa.array([Decimal(row % 13).scaleb(-1) for row in range(rows)], pa.decimal128(9, 2)),
        }
    )


def _open(
    folder: Path, offline_store: str, rows: pa.Table, features: dict[str, Any], *, log: Path | None = None
) -> FeatureStore:
    """A repository of its own, with the view `stats` over these rows, and a service that logs to `log`."""
    if offline_store == DUCKDB and not HAS_REFERENCE:
        pytest.skip(NO_REFERENCE)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / "stats.parquet")
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    view = FeatureView(
        name="stats",
        entities=[user],
        schema=[Field(name=name, dtype=dtype) for name, dtype in {"user": Int64, **features}.items()],
        source=FileSource(
            path=str(folder / "stats.parquet"),
            timestamp_field="event_timestamp",
            file_format=ParquetFormat(),
        ),
    )
    service = FeatureService(
        name="served",
        features=[view],
        logging_config=log and LoggingConfig(destination=FileLoggingDestination(path=str(log))),
    )
    store = FeatureStore(
        config=RepoConfig(
            project="small",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": offline_store},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    store.apply([user, view, service])
    return store


def _plain(metric: dict[str, Any]) -> dict[str, Any]:
    """A metric without what differs between two runs: when it was computed."""
    plain = {key: value for key, value in metric.items() if key != "computed_at"}
    if plain.get("max_event_timestamp"):
        plain["max_event_timestamp"] = pd.Timestamp(plain["max_event_timestamp"])
    return plain


def _same(ours: Any, theirs: Any) -> bool:
    """Equal, floats to twelve digits; values of equal count, whose order DuckDB leaves open, in any."""
    if isinstance(ours, list) and ours and isinstance(ours[0], dict) and "value" in ours[0]:
        ours, theirs = (
            sorted(found, key=lambda one: (one["count"], one["value"])) for found in (ours, theirs)
        )
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)
    return bool(ours == theirs)


def _stored(service: MonitoringService) -> list[dict[str, Any]]:
    found = [
        *service.get_feature_metrics("small"),
        *service.get_feature_view_metrics("small"),
        *service.get_feature_service_metrics("small"),
    ]
    names = ("feature_view_name", "feature_service_name", "feature_name", "granularity", "data_source_type")
    key = lambda metric: [str(metric.get(name)) for name in names]  # noqa: E731
    return sorted(map(_plain, found), key=key)


def _run_all(store: FeatureStore) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What every way to compute metrics returns and leaves behind."""
    service = MonitoringService(store)
    said = [
        service.compute_baseline(),
        service.compute_baseline(),
        service.auto_compute(),
        service.compute_metrics(
            "small", start_date=date(2020, 7, 1), end_date=date(2020, 7, 20), granularity="weekly"
        ),
        service.compute_metrics("small", feature_names=["plays"], set_baseline=True),
        service.compute_transient("small", "stats", start_date=date(2020, 7, 5), end_date=date(2020, 7, 5)),
    ]
    for result in said:
        del result["duration_ms"]
    said[-1]["metrics"].sort(key=lambda metric: metric["feature_name"])
    return said, _stored(service)


def _numeric(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [metric for metric in metrics if metric.get("feature_name") not in ("country", "active")]


def test_every_metric_is_that_of_feasts_duckdb_store(tmp_path: Path) -> None:
    """Baseline, all granularities, dates, a window without rows: both returned and stored."""
    features = {name: dtype for name, dtype in FEATURES.items() if name != "active"}
    (our_said, ours), (their_said, theirs) = (
        _run_all(_open(tmp_path / name, name, _rows(), features)) for name in (ASOF, DUCKDB)
    )
    assert len(ours) > 20
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert _same(mine, other), (mine, other)
    assert _same(our_said, their_said)


def test_every_figure_is_that_of_feasts_dask_store(tmp_path: Path) -> None:
    """Truth values as they are; of histograms of numbers the edges only: NumPy rounds otherwise."""
    (_, ours), (_, theirs) = (
        _run_all(_open(tmp_path / name, name, _rows(), FEATURES)) for name in (ASOF, DASK)
    )
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        if mine.get("feature_type") == "numeric" and mine["histogram"]:
            assert sum(mine["histogram"].pop("counts")) == sum(other["histogram"].pop("counts"))
        assert _same(mine, other), (mine, other)


AWKWARD = {
    "constant": [2.5, 2.5, 2.5, None],
    "nan": [1.0, math.nan, 2.0, 3.0],
    "one": [None, None, 7.0, None],
    "large": [1e308, -1e308, 0.0, 1.0],
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_numbers_have_the_figures_of_feasts_duckdb_store(tmp_path: Path, name: str) -> None:
    """Constants, NaN, a single value; a deviation beyond all floats, at which that store fails, is null."""
    times = pa.array([NOW - timedelta(hours=hour) for hour in range(4)], pa.timestamp("us", "UTC"))
    rows = pa.table({"user": [1, 2, 3, 4], "event_timestamp": times, name: AWKWARD[name]})
    stores = [
        _open(tmp_path / kind, kind, rows, {name: Float64})
        for kind in ((ASOF,) if name == "large" else (ASOF, DUCKDB))
    ]
    found = [
        store._get_provider().offline_store.compute_monitoring_metrics(
            store.config, store.get_feature_view("stats").batch_source, [(name, "numeric")], "event_timestamp"
        )
        for store in stores
    ]
    if name == "large":
        ((metric,),) = found
        assert metric["stddev"] is None
        assert metric["max_val"] == 1e308
        assert metric["histogram"] is None
        return
    assert _same(*found), found


def test_a_column_of_nulls_is_counted_as_such(tmp_path: Path) -> None:
    """Feast's DuckDB store says of such a text column that it has no rows, and so no nulls."""
    times = pa.array([NOW, NOW], pa.timestamp("us", "UTC"))
    rows = pa.table({"user": [1, 2], "event_timestamp": times, "country": pa.nulls(2, pa.string())})
    store = _open(tmp_path, ASOF, rows, {"country": String})
    MonitoringService(store).compute_baseline()
    (metric,) = MonitoringService(store).get_baseline("small")
    assert (metric["row_count"], metric["null_count"], metric["null_rate"]) == (2, 2, 1.0)


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A column that the source lacks, or of lists, costs a warning, not the view."""
    times = pa.array([NOW], pa.timestamp("us", "UTC"))
    rows = pa.table({"user": [1], "event_timestamp": times, "score": [1.0], "many": [[1, 2]]})
    store = _open(tmp_path, ASOF, rows, {"score": Float64, "many": Array(Int64), "later": Float64})
    result = MonitoringService(store).compute_baseline()
    assert result["computed_features"] == 1
    said = [message for message in caplog.messages if "not measured" in message]
    assert len(said) == 2
    assert "column 'many'" in said[0]
    assert "column 'later' is not in" in said[1]
    with pytest.raises(AsOfError, match=r"column 'country' of .*: declared as numeric, and has none"):
        AsOfOfflineStore.compute_monitoring_metrics(
            _open(tmp_path, ASOF, rows.append_column("country", pa.array(["at"])), {"score": Float64}).config,
            store.get_feature_view("stats").batch_source,
            [("country", "numeric")],
            "event_timestamp",
        )


def test_features_are_found_under_the_names_of_the_field_mapping(tmp_path: Path) -> None:
    """Where Feast's own stores fail or pass over them."""
    store = _open(tmp_path, ASOF, _rows(), {"score": Float64})
    names = ["u", "t", "s", "plays", "c", "a", "p"]
    pq.write_table(_rows().rename_columns(names), tmp_path / "stats.parquet")
    view = FeatureView(
        name="stats",
        entities=[store.get_entity("user")],
        schema=[Field(name="user", dtype=Int64), Field(name="score", dtype=Float64)],
        source=FileSource(
            path=str(tmp_path / "stats.parquet"),
            timestamp_field="event_timestamp",
            field_mapping={"u": "user", "t": "event_timestamp", "s": "score"},
        ),
    )
    store.apply([view])
    assert MonitoringService(store).compute_baseline()["computed_features"] == 1
    (metric,) = MonitoringService(store).get_baseline("small")
    assert (metric["feature_name"], metric["row_count"]) == ("score", 400)


def test_the_newest_rows_are_in_every_window_to_the_nanosecond(tmp_path: Path) -> None:
    """The windows end at the newest instant, which is no whole microsecond."""
    times = pa.array([1_596_153_600_000_000_001], pa.timestamp("ns", "UTC"))
    rows = pa.table({"user": [1], "event_timestamp": times, "score": [1.0]})
    store = _open(tmp_path, ASOF, rows, {"score": Float64})
    MonitoringService(store).auto_compute()
    assert {metric["row_count"] for metric in MonitoringService(store).get_feature_metrics("small")} == {1}


@pytest.mark.parametrize("first", [ASOF, DUCKDB])
def test_tables_are_shared_with_feasts_own_file_stores(tmp_path: Path, first: str) -> None:
    """Metrics and baselines stay when another store is chosen."""
    rows, features = _rows(), {"score": Float64, "country": String}
    before = _open(tmp_path, first, rows, features)
    MonitoringService(before).auto_compute()
    after = MonitoringService(_open(tmp_path, DUCKDB if first == ASOF else ASOF, rows, features))
    metrics = _stored(after)
    assert len(metrics) > 10
    assert _same(metrics, _stored(MonitoringService(before)))
    assert after.auto_compute()["baseline_features"] == 0
    assert len(_stored(after)) == len(metrics)


def test_a_baseline_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """Only the newest one of a feature is asked for."""
    store = _open(tmp_path, ASOF, _rows(), {"score": Float64})
    service = MonitoringService(store)
    for day in (5, 6):
        service.compute_metrics(
            "small", start_date=date(2020, 7, day), end_date=date(2020, 7, day), set_baseline=True
        )
    (baseline,) = service.get_baseline("small")
    assert baseline["metric_date"] == "2020-07-06"
    assert len(service.get_feature_metrics("small")) == 2


def test_jobs_are_kept_with_their_result(tmp_path: Path) -> None:
    """What Feast's REST endpoints and `feast apply` submit: pending, then completed, with a summary."""
    service = MonitoringService(_open(tmp_path, ASOF, _rows(), {"score": Float64}))
    (job,) = service.submit_baseline_for_new_features("small")
    assert service.get_job(job)["status"] == "pending"  # type: ignore[index]
    if Version("0.67") <= FEAST:  # earlier, a job is found whatever its project is
        assert service.get_job(job, project="another") is None
    assert service.execute_job(job)["computed_features"] == 1
    done = service.get_job(job)
    assert done is not None
    assert (done["status"], done["result_summary"]["status"]) == ("completed", "completed")
    assert done["parameters"] == {"feature_names": ["score"]}


def test_metrics_saved_at_once_are_all_kept(tmp_path: Path) -> None:
    """Twenty-four features of eight threads."""
    store = _open(tmp_path, ASOF, _rows(), {"score": Float64})
    key = {
        "project_id": "small",
        "feature_view_name": "v",
        "granularity": "daily",
        "data_source_type": "batch",
    }

    def save(number: int) -> None:
        metric = {**key, "feature_name": f"f{number}", "metric_date": date(2020, 7, 5)}
        AsOfOfflineStore.save_monitoring_metrics(store.config, "feature", [metric])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(24)))
    assert len(MonitoringService(store).get_feature_metrics("small")) == 24


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    """Not replaced by an empty one."""
    store = _open(tmp_path, ASOF, _rows(), {"score": Float64})
    AsOfOfflineStore.ensure_monitoring_tables(store.config)
    (path,) = (tmp_path / "feast_monitoring").glob("*jobs.parquet")
    path.write_text("not parquet")
    with pytest.raises(AsOfError, match=r"monitoring: .*jobs\.parquet cannot be read"):
        AsOfOfflineStore.query_monitoring_metrics(store.config, "small", "job")


def _logs(folder: Path) -> None:
    folder.mkdir()
    times = [NOW - timedelta(hours=hour) for hour in range(50)]
    logs = pa.table(
        {
            "user": pa.array(range(50), pa.int64()),
            "stats__score": pa.array([hour / 7 for hour in range(50)]),
            "stats__country": pa.array(["at", "de"] * 25),
            "__log_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "__log_date": pa.array([time.date() for time in times]),
            "__request_id": pa.array([str(hour) for hour in range(50)]),
        }
    )
    pq.write_table(logs, folder / "part.parquet")


def test_metrics_of_logged_features_are_those_of_feasts_dask_store(tmp_path: Path) -> None:
    """In all granularities, and between dates."""
    found = []
    for name in (ASOF, DASK):
        log = tmp_path / f"log_{name}"
        _logs(log)
        store = _open(tmp_path / name, name, _rows(), {"score": Float64, "country": String}, log=log)
        service = MonitoringService(store)
        said = [
            service.auto_compute_log_metrics(),
            service.compute_log_metrics(
                "small", "served", start_date=date(2020, 7, 30), end_date=date(2020, 7, 31)
            ),
        ]
        for result in said:
            del result["duration_ms"]
        assert said[0]["computed_features"] == 10
        for metric in _stored(service):
            if metric.get("feature_type") == "numeric":
                del metric["histogram"]
            said.append(metric)
        found.append(said)
    assert _same(*found), found


def test_a_log_that_nobody_has_written_to_yet_is_passed_over(tmp_path: Path) -> None:
    """There is nothing to measure, and nothing wrong."""
    store = _open(tmp_path, ASOF, _rows(), {"score": Float64}, log=tmp_path / "log")
    result = MonitoringService(store).auto_compute_log_metrics()
    assert (result["status"], result["computed_feature_services"]) == ("completed", 0)


_FEAST = "import asof_fixtures.unchecked; from feast.cli.cli import cli; cli(prog_name='feast')"


@pytest.mark.slow
def test_feast_monitor_run_stores_the_metrics(tmp_path: Path) -> None:
    """From the command line, in a repository of its own."""
    pq.write_table(_rows(), tmp_path / "stats.parquet")
    (tmp_path / "feature_store.yaml").write_text(
        "project: small\nprovider: local\nregistry: registry.db\n"
        "online_store: {type: sqlite, path: online.db}\n"
        f"offline_store: {{type: {ASOF}}}\nentity_key_serialization_version: 3\n"
    )
    (tmp_path / "definitions.py").write_text(
        "from feast import Entity, FeatureView, Field, FileSource, ValueType\n"
        "from feast.types import Float64, String\n"
        "user = Entity(name='user', join_keys=['user'], value_type=ValueType.INT64)\n"
        "source = FileSource(path='stats.parquet', timestamp_field='event_timestamp')\n"
        "stats = FeatureView(name='stats', entities=[user], source=source,\n"
        "    schema=[Field(name='score', dtype=Float64), Field(name='country', dtype=String)])\n"
    )

    def feast(*words: str) -> str:
        command = [sys.executable, "-W", "ignore", "-c", _FEAST, *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=with_fixtures(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    feast("apply")
    said = feast("monitor", "run")
    assert "Feature views computed: 1" in said
    assert "Granularities: biweekly, daily, monthly, quarterly, weekly" in said
    assert "Baseline: SET" in feast("monitor", "run", "--set-baseline")
    metrics = pq.read_table(tmp_path / "feast_monitoring" / "feast_monitoring_feature_metrics.parquet")
    assert metrics.num_rows == 12
    assert metrics.filter(pa.compute.field("granularity") == "baseline")["row_count"].to_pylist() == [
        400,
        400,
    ]
