"""How long, and how much memory, does a point-in-time join take: this store, Feast's DuckDB, Feast's dask?

Five views and 90 features shaped like KuaiRec's. Each case runs in a process of its own. Seconds are those of
`get_historical_features` and its result, without imports; memory is the peak of the whole process.

    python benchmarks/point_in_time_join.py                        # 10^4 .. 10^6 rows, all stores
    python benchmarks/point_in_time_join.py --rows 12530806 --stores asof --to parquet
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path

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
RESULT = Path(__file__).parent / "results" / "point_in_time_join.json"


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


def run_case(folder: Path, entities: Path, store: str, ttl_days: int, target: str) -> None:
    """One join in this process; prints its seconds and rows as JSON."""
    warnings.simplefilter("ignore")
    import pandas as pd
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
            offline_store={"type": STORES[store]},
            entity_key_serialization_version=3,
        )
        feast = FeatureStore(config=config)
        feast.apply([*keys.values(), *views])
        references = [f"{view.name}:{field.name}" for view in views for field in view.features]
        frame = str(entities) if store == "asof" else pd.read_parquet(entities)
        started = time.perf_counter()
        job = feast.get_historical_features(entity_df=frame, features=references)
        if target == "parquet":
            rows = job.to_parquet(folder / "joined.parquet", compression="none")
        else:
            rows = job.to_arrow().num_rows
        print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}))


def write_only(folder: Path, entities: Path) -> None:
    """What merely writing that parquet costs: a batch of the joined file, again and again."""
    rows = pq.read_metadata(entities).num_rows
    batch = next(pq.ParquetFile(folder / "joined.parquet").iter_batches(batch_size=262_144))
    batch_rows = batch.num_rows
    started = time.perf_counter()
    with pq.ParquetWriter(folder / "written.parquet", batch.schema, compression="none") as writer:
        for start in range(0, rows, batch_rows):
            writer.write_batch(batch.slice(0, min(batch_rows, rows - start)))
    print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}))


def main() -> None:
    """Run the cases that were asked for, print the table, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--ttl-days", type=int, nargs="+", default=[0, 2], help="0 means for ever")
    parser.add_argument("--to", choices=("arrow", "parquet"), default="arrow", help="parquet: asof only")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds a case may take")
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--write-only", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        folder, entities, store, ttl_days, target = arguments.case
        run_case(Path(folder), Path(entities), store, int(ttl_days), target)
        return
    if arguments.write_only:
        write_only(Path(arguments.write_only[0]), Path(arguments.write_only[1]))
        return
    results = []
    print(f"{'rows':>12} {'ttl':>6} {'store':>12} {'seconds':>9} {'peak MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sources(folder)
        for rows in arguments.rows:
            entities = folder / f"entities_{rows}.parquet"
            make_entities(entities, rows)
            cases = [(str(ttl), store) for ttl in arguments.ttl_days for store in arguments.stores]
            commands = [
                (ttl, store, ["--case", name, str(entities), store, ttl, arguments.to])
                for ttl, store in cases
            ]
            if arguments.to == "parquet":
                commands.append(("-", "write only", ["--write-only", name, str(entities)]))
            for ttl, store, options in commands:
                done = run_measured([sys.executable, __file__, *options], timeout_s=arguments.timeout)
                seconds = json.loads(done.output)["seconds"] if done.output else None
                megabytes = done.peak_bytes / 1e6
                shown = f"{seconds:9.2f}" if seconds is not None else f"{'-':>9}"
                print(f"{rows:>12,} {ttl:>6} {store:>12} {shown} {megabytes:>9.0f}  {done.error}", flush=True)
                results.append(
                    {
                        "rows": rows,
                        "ttl_days": ttl,
                        "store": store,
                        "to": arguments.to,
                        "seconds": seconds,
                        "peak_bytes": done.peak_bytes,
                        "error": done.error,
                    }
                )
            entities.unlink()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps({"machine": machine("feast", "pyarrow", "numpy", "duckdb"), "results": results}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()
