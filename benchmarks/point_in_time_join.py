"""How long, and how much memory, does a point-in-time join take: this store, Feast's DuckDB, Feast's dask?

Five views and 90 features shaped like KuaiRec's. Each case runs in a process of its own. Seconds are those of
`get_historical_features` and its result, without imports, the median of up to three runs; memory is the peak
of the whole process. DuckDB and dask get their entity dataframe ready in memory; this store reads it from
parquet within the time.

    python benchmarks/point_in_time_join.py                        # everything, about half an hour
    python benchmarks/point_in_time_join.py --rows 1000000 --stores asof duckdb --parquet-rows 0
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine, run_measured

STORES = {"asof": "feast_asof.AsOfOfflineStore", "duckdb": "duckdb", "dask": "dask"}
USERS, VIDEOS, DAYS = 7_176, 10_728, 63
START = np.datetime64("2020-07-05", "us")
DAY = np.timedelta64(1, "D")
# view: key, rows a key, features
VIEWS = {
    "user_profile": ("user_id", 1, 18),
    "user_activity": ("user_id", 40, 5),
    "video_text": ("video_id", 1, 50),
    "video_daily_popularity": ("video_id", 32, 12),
    "video_engagement": ("video_id", 32, 5),
}
# The sizes at which Feast's stores still end, on 2 cores with 24 GB.
ROWS_MAX = {"asof": 100_000_000, "duckdb": 3_000_000, "dask": 100_000}
KUAIREC_ROWS = 12_530_806
RUNS_MAX_S = 30.0
RESULT = Path(__file__).parent / "results" / "point_in_time_join.json"


@dataclass(frozen=True)
class Case:
    """One line of the table. ttl_days: 0 means for ever; to: arrow, parquet, or written (nothing joined)."""

    rows: int
    ttl_days: int
    store: str
    to: str


@dataclass(frozen=True)
class Figures:
    """What one case took; seconds is None where it failed. error says why, or that rows were lost."""

    seconds: float | None
    peak_bytes: int
    runs: int
    error: str


def make_sources(folder: Path) -> None:
    """The five parquet sources, sorted by key and time."""
    random = np.random.default_rng(7)
    for view, (key, rows_a_key, features) in VIEWS.items():
        keys = np.arange(USERS if key == "user_id" else VIDEOS)
        ids = np.repeat(keys, rows_a_key)
        if rows_a_key == 1:
            times = np.full(len(ids), START - 400 * DAY)
        else:
            days = np.argsort(random.random((len(keys), DAYS)), axis=1)[:, :rows_a_key]
            times = START + np.sort(days, axis=1).ravel() * DAY
        columns = {key: ids, "event_timestamp": pa.array(times).cast(pa.timestamp("us", "UTC"))}
        for feature in range(features):
            columns[f"{view}_{feature}"] = random.random(len(ids), dtype=np.float32)
        pq.write_table(pa.table(columns), folder / f"{view}.parquet")


def make_entities(path: Path, rows: int) -> None:
    """The interactions: random pairs over the period, in time order, written in pieces."""
    random = np.random.default_rng(8)
    piece_rows = 1_000_000
    writer = None
    for start in range(0, rows, piece_rows):
        count = min(piece_rows, rows - start)
        spread = (start + np.sort(random.random(count)) * count) / rows * DAYS * 86_400e6
        table = pa.table(
            {
                "user_id": random.integers(0, USERS, count),
                "video_id": random.integers(0, VIDEOS, count),
                "event_timestamp": pa.array(START + spread.astype("timedelta64[us]")).cast(
                    pa.timestamp("us", "UTC")
                ),
                "watch_ratio": random.random(count, dtype=np.float32),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


@contextmanager
def small_feature_store(
    folder: Path, offline_store: dict[str, Any], ttl_days: int = 0
) -> Iterator[tuple[Any, list[str], Path]]:
    """A FeatureStore over the sources in `folder`, the names of all its features, and a folder for output."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float32

    keys = {
        name: Entity(name=name.removesuffix("_id"), join_keys=[name], value_type=ValueType.INT64)
        for name in ("user_id", "video_id")
    }
    # A profile has no age; the short ttl is for what is renewed daily.
    views = [
        FeatureView(
            name=view,
            entities=[keys[key]],
            ttl=timedelta(days=ttl_days if rows_a_key > 1 else 0),
            schema=[Field(name=f"{view}_{feature}", dtype=Float32) for feature in range(features)],
            source=FileSource(path=str(folder / f"{view}.parquet"), timestamp_field="event_timestamp"),
        )
        for view, (key, rows_a_key, features) in VIEWS.items()
    ]
    with tempfile.TemporaryDirectory() as home:
        config = RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(Path(home) / "registry.db"),
            online_store=None,
            offline_store=offline_store,
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        store.apply([*keys.values(), *views])
        yield store, [f"{view.name}:{field.name}" for view in views for field in view.features], Path(home)


def run_case(folder: Path, entities: Path, store: str, ttl_days: int, target: str) -> None:
    """One join in this process; prints its seconds and rows as JSON."""
    warnings.simplefilter("ignore")
    import pandas as pd

    with small_feature_store(folder, {"type": STORES[store]}, ttl_days) as (feast, references, _):
        frame = str(entities) if store == "asof" else pd.read_parquet(entities)
        started = time.perf_counter()
        job = feast.get_historical_features(entity_df=frame, features=references)
        if target == "parquet":
            rows = job.to_parquet(folder / "joined.parquet", compression="none")
        else:
            rows = job.to_arrow().num_rows
        _report(started, rows)


def write_only(folder: Path, entities: Path) -> None:
    """What merely writing that parquet costs: a batch of the joined file, again and again."""
    rows = pq.read_metadata(entities).num_rows
    batch = next(pq.ParquetFile(folder / "joined.parquet").iter_batches(batch_size=262_144))
    batch_rows = batch.num_rows
    started = time.perf_counter()
    with pq.ParquetWriter(folder / "written.parquet", batch.schema, compression="none") as writer:
        for start in range(0, rows, batch_rows):
            writer.write_batch(batch.slice(0, min(batch_rows, rows - start)))
    _report(started, rows)


def _report(started: float, rows: int) -> None:
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status")
    # Peak resident memory of this program; getrusage would count the parent's from before it was started.
    lines = status.read_text().splitlines() if status.exists() else []
    peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_bytes": peak}))


def measure(case: Case, folder: Path, entities: Path, runs_max: int, timeout_s: float) -> Figures:
    """Run a case up to `runs_max` times, fewer where it takes long; median seconds, highest peak."""
    options = ["--case", str(folder), str(entities), case.store, str(case.ttl_days), case.to]
    seconds: list[float] = []
    peak = 0
    while not seconds or (len(seconds) < runs_max and sum(seconds) < RUNS_MAX_S):
        done = run_measured([sys.executable, __file__, *options], timeout_s=timeout_s)
        peak = max(peak, done.peak_bytes)
        if done.output is None:
            return Figures(None, peak, len(seconds) + 1, done.error)
        told = json.loads(done.output.splitlines()[-1])
        peak = max(peak, told["peak_bytes"] or 0)
        seconds.append(told["seconds"])
    lost = "" if told["rows"] == case.rows else f"only {told['rows']:,} rows came back"
    return Figures(statistics.median(seconds), peak, len(seconds), lost)


def show_ratios(results: dict[Case, Figures]) -> None:
    """How many times as fast as Feast's stores, and which share of their memory."""
    for case, theirs in results.items():
        ours = results.get(Case(case.rows, case.ttl_days, "asof", case.to))
        if case.store == "asof" or ours is None or not ours.seconds or not theirs.seconds:
            continue
        print(
            f"{case.rows:>12,} rows, ttl {case.ttl_days} days: "
            f"{theirs.seconds / ours.seconds:.1f} times as fast as {case.store}, "
            f"{ours.peak_bytes / theirs.peak_bytes:.2f} of its memory"
        )
    joined = results.get(Case(KUAIREC_ROWS, 0, "asof", "parquet"))
    written = results.get(Case(KUAIREC_ROWS, 0, "asof", "written"))
    if joined and written and joined.seconds and written.seconds:
        print(
            f"{KUAIREC_ROWS:>12,} rows joined and written to parquet: "
            f"{joined.seconds / written.seconds:.2f} times what writing them costs, "
            f"{joined.peak_bytes / 1e9:.2f} GB"
        )


def main() -> None:
    """Run the cases that were asked for, print the table, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6, 3 * 10**6, 10**7])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--ttl-days", type=int, nargs="+", default=[0, 2], help="0 means for ever")
    parser.add_argument("--parquet-rows", type=int, default=KUAIREC_ROWS, help="0 leaves parquet out")
    parser.add_argument("--runs", type=int, default=3, help="of each case, fewer where they take long")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds a case may take")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        folder, entities, store, ttl_days, target = arguments.case
        if target == "written":
            write_only(Path(folder), Path(entities))
        else:
            run_case(Path(folder), Path(entities), store, int(ttl_days), target)
        return
    cases = [
        Case(rows, ttl_days, store, "arrow")
        for rows in arguments.rows
        for ttl_days in arguments.ttl_days
        for store in arguments.stores
        if rows <= ROWS_MAX[store]
    ]
    if arguments.parquet_rows:
        cases += [Case(arguments.parquet_rows, 0, "asof", target) for target in ("parquet", "written")]
    # dask takes longest and comes last: what has been measured by then is written.
    cases.sort(key=lambda case: case.store == "dask")
    results: dict[Case, Figures] = {}
    print(
        f"{'rows':>12} {'ttl days':>8} {'store':>7} {'to':>8} {'seconds':>9} {'s / 10^6':>9} {'peak MB':>9}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sources(folder)
        for case in cases:
            entities = folder / f"entities_{case.rows}.parquet"
            if not entities.exists():
                make_entities(entities, case.rows)
            figures = results[case] = measure(case, folder, entities, arguments.runs, arguments.timeout)
            seconds = figures.seconds if figures.seconds is not None else float("nan")
            print(
                f"{case.rows:>12,} {case.ttl_days:>8} {case.store:>7} {case.to:>8} {seconds:>9.2f} "
                f"{seconds / case.rows * 1e6:>9.2f} {figures.peak_bytes / 1e6:>9.0f}  {figures.error}",
                flush=True,
            )
            write_results(arguments.out, results)
    show_ratios(results)


def write_results(path: Path, results: dict[Case, Figures]) -> None:
    """The figures, with the machine they were measured on. Cases of earlier runs on this machine stay."""
    path.parent.mkdir(exist_ok=True)
    measured_on = machine("feast", "pyarrow", "numpy", "duckdb", "dask")
    lines = {case: {**asdict(case), **asdict(figures)} for case, figures in results.items()}
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("machine") == measured_on:
        for line in before["results"]:
            lines.setdefault(Case(line["rows"], line["ttl_days"], line["store"], line["to"]), line)
    ordered = sorted(lines.values(), key=lambda line: (line["rows"], line["ttl_days"], line["store"]))
    path.write_text(json.dumps({"machine": measured_on, "results": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
