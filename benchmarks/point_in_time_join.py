r"""How long, and how much memory, does a point-in-time join take: this store, Feast's own, a bare ASOF join?

Five views and 90 features shaped like KuaiRec's: sources of daily values, or ones like a log, a million rows
with as many instants. Each case runs in a process of its own. Seconds are those of `get_historical_features`
and its result, without imports, the median of up to three runs; CPU seconds are those of all threads, and say
more on a busy machine; memory is the peak of the whole process, and the part of it above the memory that
was in use when the join began: Feast and pandas are imported by then, or Polars or DuckDB alone. Feast's
DuckDB and dask stores get their entity dataframe ready in memory; this store, Polars' join_asof and DuckDB's
ASOF JOIN read it from parquet within the time.

    python benchmarks/point_in_time_join.py                        # everything, about an hour
    python benchmarks/point_in_time_join.py --rows 1000000 10000000 --ttl-days 0 --parquet-rows 0 \
        --stores asof polars duckdb-asof                # the store beside what can be written without one
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.join_rivals import RIVALS
from benchmarks.join_world import VIEWS, make_entities, make_sources, small_feature_store
from benchmarks.measured_process import machine, run_measured

STORES = {"asof": "feast_asof.AsOfOfflineStore", "duckdb": "duckdb", "dask": "dask"}
SHAPES = ("daily", "log")
# The sizes at which Feast's stores still end, on 2 cores with 24 GB.
ROWS_MAX = {"duckdb": 3_000_000, "dask": 100_000}
KUAIREC_ROWS = 12_530_806
RUNS_MAX_S = 30.0
RESULT = Path(__file__).parent / "results" / "point_in_time_join.json"


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        shape: of the sources.
        ttl_days: 0 means for ever.
        store: or a rival of RIVALS.
        to: arrow, parquet, or written (nothing joined).
    """

    rows: int
    ttl_days: int
    store: str
    to: str
    shape: str = "daily"


@dataclass(frozen=True)
class Figures:
    """What one case took.

    Attributes:
        seconds: None if it failed.
        error: why it failed, or that rows were lost.
        values: how many of the result's are not null, which shows whether two joins agree.
        imported_bytes: the process before the join.
    """

    seconds: float | None
    peak_bytes: int
    runs: int
    error: str
    cpu_seconds: float | None = None
    values: int | None = None
    imported_bytes: int | None = None

    @property
    def join_bytes(self) -> int:
        """The peak above what was imported."""
        return self.peak_bytes - (self.imported_bytes or 0)


@dataclass(frozen=True)
class Started:
    """The figures of a process when its join began."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int | None

    @classmethod
    def now(cls) -> "Started":
        """Here."""
        memory = _memory_bytes("VmRSS")
        return cls(time.perf_counter(), time.process_time(), memory)


def run_case(folder: Path, entities: Path, store: str, ttl_days: int, target: str) -> None:
    """One join in this process; prints its seconds and rows as JSON."""
    warnings.simplefilter("ignore")
    if store in RIVALS:
        importlib.import_module(store.split("-", maxsplit=1)[0])
        started = Started.now()
        _report(started, RIVALS[store](folder, entities))
        return
    import pandas as pd

    with small_feature_store(folder, {"type": STORES[store]}, ttl_days) as (feast, references, _):
        frame = str(entities) if store == "asof" else pd.read_parquet(entities)
        started = Started.now()
        job = feast.get_historical_features(entity_df=frame, features=references)
        if target == "parquet":
            _report(started, job.to_parquet(folder / "joined.parquet", compression="none"))
        else:
            _report(started, job.to_arrow())


def write_only(folder: Path, entities: Path) -> None:
    """What merely writing that parquet costs: a batch of the joined file, again and again."""
    rows = pq.read_metadata(entities).num_rows
    batch = next(pq.ParquetFile(folder / "joined.parquet").iter_batches(batch_size=262_144))
    batch_rows = batch.num_rows
    started = Started.now()
    with pq.ParquetWriter(folder / "written.parquet", batch.schema, compression="none") as writer:
        for start in range(0, rows, batch_rows):
            writer.write_batch(batch.slice(0, min(batch_rows, rows - start)))
    _report(started, rows)


def _report(started: Started, result: pa.Table | int) -> None:
    figures = {
        "seconds": time.perf_counter() - started.seconds,
        "cpu_seconds": time.process_time() - started.cpu_seconds,
        # Of this program; getrusage would count the parent's from before it was started.
        "peak_bytes": _memory_bytes("VmHWM"),
        "imported_bytes": started.memory_bytes,
    }
    if isinstance(result, int):
        print(json.dumps({**figures, "rows": result, "values": None}))
        return
    values = sum(len(result) - result[f"{view}_0"].null_count for view in VIEWS)
    print(json.dumps({**figures, "rows": result.num_rows, "values": values}))


def _memory_bytes(what: str) -> int | None:
    """Resident memory of this process, VmRSS now or VmHWM at its peak; None where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), None)


def measure(case: Case, folder: Path, entities: Path, runs_max: int, timeout_s: float) -> Figures:
    """Run a case up to `runs_max` times, fewer where it takes long; median seconds, highest peak."""
    options = ["--case", str(folder), str(entities), case.store, str(case.ttl_days), case.to]
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    peak = 0
    while not seconds or (len(seconds) < runs_max and sum(seconds) < RUNS_MAX_S):
        done = run_measured([sys.executable, __file__, *options], timeout_s=timeout_s)
        peak = max(peak, done.peak_bytes)
        if done.output is None:
            return Figures(None, peak, len(seconds) + 1, done.error)
        result = json.loads(done.output.splitlines()[-1])
        peak = max(peak, result["peak_bytes"] or 0)
        seconds.append(result["seconds"])
        cpu_seconds.append(result["cpu_seconds"])
    lost = "" if result["rows"] == case.rows else f"only {result['rows']:,} rows came back"
    return Figures(
        statistics.median(seconds),
        peak,
        len(seconds),
        lost,
        statistics.median(cpu_seconds),
        result["values"],
        result["imported_bytes"],
    )


def show_ratios(results: dict[Case, Figures]) -> None:
    """How many times as fast as the others, and which share of their memory."""
    for case, theirs in results.items():
        ours = results.get(replace(case, store="asof"))
        if case.store == "asof" or ours is None or not ours.seconds or not theirs.seconds:
            continue
        print(
            f"{case.rows:>12,} rows, {case.shape}, ttl {case.ttl_days} days: "
            f"{theirs.seconds / ours.seconds:.2f} times as fast as {case.store} "
            f"({(theirs.cpu_seconds or 0) / (ours.cpu_seconds or 1):.2f} by CPU), "
            f"{ours.peak_bytes / theirs.peak_bytes:.2f} of its memory, "
            f"{ours.join_bytes / theirs.join_bytes:.2f} without what was imported"
            f"{'' if ours.values == theirs.values else ', OTHER VALUES'}"
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
    parser.add_argument("--stores", nargs="+", choices=[*STORES, *RIVALS], default=[*STORES, *RIVALS])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="of the sources")
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
        Case(rows, ttl_days, store, "arrow", shape)
        for shape in arguments.shapes
        for rows in arguments.rows
        for ttl_days in arguments.ttl_days
        for store in arguments.stores
        if rows <= ROWS_MAX.get(store, rows) and not (store in RIVALS and ttl_days)
    ]
    if arguments.parquet_rows:
        cases += [Case(arguments.parquet_rows, 0, "asof", target) for target in ("parquet", "written")]
    # dask takes longest and comes last: what has been measured by then is written.
    cases.sort(key=lambda case: case.store == "dask")
    run_cases(cases, arguments.runs, arguments.timeout, arguments.out)


def run_cases(cases: list[Case], runs: int, timeout_s: float, out: Path) -> None:
    """Measure each case, print its line, and write the result file as it grows."""
    results: dict[Case, Figures] = {}
    print(
        f"{'rows':>12} {'shape':>6} {'ttl days':>8} {'store':>11} {'to':>8} {'seconds':>9} {'CPU s':>9} "
        f"{'peak MB':>9} {'of the join':>12}"
    )
    with tempfile.TemporaryDirectory() as name:
        for case in cases:
            folder = Path(name) / case.shape
            if not folder.exists():
                folder.mkdir()
                make_sources(folder, case.shape)
            entities = Path(name) / f"entities_{case.rows}.parquet"
            if not entities.exists():
                make_entities(entities, case.rows)
            figures = results[case] = measure(case, folder, entities, runs, timeout_s)
            seconds, cpu_seconds = figures.seconds or float("nan"), figures.cpu_seconds or float("nan")
            print(
                f"{case.rows:>12,} {case.shape:>6} {case.ttl_days:>8} {case.store:>11} {case.to:>8} "
                f"{seconds:>9.2f} {cpu_seconds:>9.2f} {figures.peak_bytes / 1e6:>9.0f} "
                f"{figures.join_bytes / 1e6:>12.0f}  {figures.error}",
                flush=True,
            )
            write_results(out, results)
    show_ratios(results)


def write_results(path: Path, results: dict[Case, Figures]) -> None:
    """The figures, with the machine they were measured on. Cases of earlier runs on this machine stay."""
    path.parent.mkdir(exist_ok=True)
    measured_on = machine("feast", "pyarrow", "numpy", "duckdb", "dask", "polars")
    lines = {case: {**asdict(case), **asdict(figures)} for case, figures in results.items()}
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("machine") == measured_on:
        for line in before["results"]:
            lines.setdefault(Case(**{field: line[field] for field in Case.__dataclass_fields__}), line)
    ordered = sorted(
        lines.values(), key=lambda line: (line["shape"], line["rows"], line["ttl_days"], line["store"])
    )
    path.write_text(json.dumps({"machine": measured_on, "results": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
