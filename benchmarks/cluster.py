"""What does a second node bring, what crosses between nodes, and does the driver's memory stay flat?

The point-in-time join of `point_in_time_join.py` (five views, 90 features), entity parquet in and parquet
out, on a Ray cluster of one node of one core and of two, at some sizes; beside it Feast's own `type: ray`
store on the same cluster. Then ALS by shards of users (`cluster_als.py`), beside a fit without a cluster
(0 nodes). With --home, also scoring of some of a home's users, and fitting the rankers (a champion and
features have to be there).

Each node is held to a core of its own, the driver runs on either. Each case runs in a process of its own,
which starts the cluster, warms it up with a small join, and is timed from the request to the last file
written. Crossed bytes are those of the loopback interface meanwhile, an idle cluster's own included: between
nodes of one machine all of them go that way, within a node no block does. Driver memory is the peak of the
process that asks. Run it on a quiet machine.

    python benchmarks/cluster.py                       # half an hour
    python benchmarks/cluster.py --rows 200000 --feast-ray-rows --plays
    python benchmarks/cluster.py --rows --feast-ray-rows                 # ALS alone
    python benchmarks/cluster.py --home HOME --rows --feast-ray-rows     # ALS, scoring and rankers
    python benchmarks/cluster.py --home HOME --rows --feast-ray-rows --plays --users   # rankers, by stage
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.join_world import make_entities, make_sources, small_feature_store
from benchmarks.measured_process import machine
from nightreel.core.cluster import worker_environment

RESULT = Path(__file__).parent / "results" / "cluster.json"
STORES = {"asof": "feast_asof.AsOfOfflineStore", "feast-ray": "ray"}
WARM_UP_ROWS = 50_000
OBJECT_STORE_BYTES = 500 * 2**20


@dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes:
        what: asof or feast-ray, a join of `size` entity rows; als: of `size` plays; score: of `size` users;
            rankers: of `size` trees.
        nodes: 0 is one process without a cluster.
    """

    what: str
    size: int
    nodes: int


def run_join(case: Case, folder: Path) -> dict[str, Any]:
    """One join in this process, which is the driver."""
    import ray

    cluster = _start(case.nodes)
    offline: dict[str, Any] = {"type": STORES[case.what]}
    if case.what == "feast-ray":
        offline |= {"ray_address": cluster.address, "storage_path": str(folder / "feast-ray")}
    with small_feature_store(folder, offline) as (store, references, home):

        def join(rows: int, target: Path) -> None:
            path = folder / f"entities_{rows}.parquet"
            entities: Any = str(path)
            if case.what == "feast-ray":
                import pandas as pd

                # It takes no path.
                entities = pd.read_parquet(path)
            job = store.get_historical_features(entity_df=entities, features=references)
            job.to_ray_dataset().write_parquet(str(target), ray_remote_args={"num_cpus": 0.25})

        target = home / "out"
        join(_warm_up_rows(case.size), target / "warm-up")
        measured = _timed(lambda: join(case.size, target / "joined"))
        import pyarrow.dataset as ds

        measured["rows"] = ds.dataset(target / "joined").count_rows()
    ray.shutdown()
    cluster.shutdown()
    return measured


def run_score(case: Case, home: Path) -> dict[str, Any]:
    """Score some users of a home in this process, which is the driver; the lists are thrown away."""
    os.environ["NIGHTREEL_HOME"] = str(home)
    cluster = _start(case.nodes)
    import ray
    from sqlalchemy import create_engine

    from benchmarks.scored_home import ScoredHome
    from nightreel.core.settings import load_settings
    from scoring.database.on_ray import ListsOnRay
    from scoring.database.tables import metadata
    from scoring.lists.parts import work_of_shown

    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"cluster.engine": "ray", "cluster.shared_dir": folder})
        scored = ScoredHome.load(settings)
        opened = create_engine(f"sqlite:///{folder}/lists.sqlite")
        metadata.create_all(opened)

        def score(users: int, digest: str) -> int:
            few = scored.with_users(slice(0, users))
            with opened.connect() as connection:
                work = work_of_shown(few.candidates, few.joined, few.model_folder, settings)
                lists = ListsOnRay(work, settings, digest)
                return sum(lists.write(connection, len(digest)).values())

        score(8, "w")
        rows = 0

        def timed() -> None:
            nonlocal rows
            rows = score(case.size, "timed")

        measured = _timed(timed)
        measured["rows"] = rows
    ray.shutdown()
    cluster.shutdown()
    return measured


def run_als(case: Case, folder: Path) -> dict[str, Any]:
    """Fit ALS twice, from this process, which is the driver."""
    from benchmarks.cluster_als import fit

    if not case.nodes:
        found: dict[str, Any] = {}
        measured = _timed(lambda: found.update(fit(folder, case.size, on_ray=False)))
        return measured | found
    import ray

    cluster = _start(case.nodes)
    # So that workers have been started, and have imported what they need.
    fit(folder, _warm_up_plays(case.size), on_ray=True)
    found = {}
    measured = _timed(lambda: found.update(fit(folder, case.size, on_ray=True)))
    ray.shutdown()
    cluster.shutdown()
    return measured | found


def run_rankers(case: Case, home: Path) -> dict[str, Any]:
    """Join a home's plays, then fit classifier and regressor on them; the models are thrown away.

    Timed is the fit; `join` are the seconds before it, in which the driver finds the positions of the join.
    """
    os.environ["NIGHTREEL_HOME"] = str(home)
    cluster = _start(case.nodes)
    import ray

    from feature_repo.open_store import store as open_store
    from nightreel.core.settings import load_settings
    from pipelines.rankers.on_ray import fit_with_seconds
    from pipelines.rankers.training_data import TrainingData

    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            {
                "cluster.engine": "ray",
                "cluster.shared_dir": folder,
                "ranker.lightgbm.num_iterations": case.size,
            }
        )
        begun = time.perf_counter()
        data = TrainingData.join(open_store(), settings)
        of_stages = {"join": time.perf_counter() - begun}
        measured = _timed(lambda: of_stages.update(fit_with_seconds(data, settings)[1]))
        measured["stages"] = {name: round(seconds, 2) for name, seconds in of_stages.items()}
    ray.shutdown()
    cluster.shutdown()
    return measured


def _warm_up_plays(size: int) -> int:
    return min(100_000, size // 4)


def _warm_up_rows(size: int) -> int:
    return min(WARM_UP_ROWS, size // 4)


def _start(nodes: int) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    warnings.simplefilter("ignore")
    import ray
    import ray.data
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    # Ray keeps one waiting process a core; here that would be one a node, and starting others takes seconds.
    kept = {"_system_config": {"num_workers_soft_limit": 4}}
    cluster = Cluster(initialize_head=True, head_node_args=node | kept | {"include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    cluster.wait_for_nodes()
    cores = sorted(os.sched_getaffinity(0))
    for index, each in enumerate([cluster.head_node, *cluster.worker_nodes]):
        _pin(each.all_processes["raylet"][0].process.pid, cores[index % len(cores)])
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=worker_environment(),
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    return cluster


def _pin(process: int, core: int) -> None:
    """Hold a node, and all that it starts, to one core: Ray only counts cores, threads take more."""
    import psutil

    raylet = psutil.Process(process)
    for each in (raylet, *raylet.children(recursive=True)):
        each.cpu_affinity([core])


def _timed(work: Any) -> dict[str, Any]:
    before, started = _loopback_bytes(), time.perf_counter()
    work()
    seconds, crossed = time.perf_counter() - started, _loopback_bytes() - before
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {
        "seconds": round(seconds, 2),
        "crossed_bytes": crossed,
        "driver_peak_bytes": int(peak[1]) * 1024 if peak else None,
        # Of the machine: what is above the cluster's own cores is other work.
        "load": round(os.getloadavg()[0], 1),
    }


def _loopback_bytes() -> int:
    """Bytes that the loopback interface has received so far."""
    line = next(
        line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")
    )
    return int(line.split(":")[1].split()[0])


def measure(case: Case, folder: Path, timeout_s: float) -> dict[str, Any]:
    """Run a case in a process of its own."""
    command = [sys.executable, __file__, "--case", case.what, str(case.size), str(case.nodes), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"error": f"longer than {timeout_s:.0f} s"}
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not found:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1][:300]}
    measured: dict[str, Any] = json.loads(found[-1])
    return measured


def main() -> None:
    """Run the cases that were asked for, print the table, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[1_000, 4_000_000, 20_000_000], help="entity rows"
    )
    parser.add_argument(
        "--feast-ray-rows",
        type=int,
        nargs="*",
        default=[500, 1_000],
        help="of Feast's own store, which is slow",
    )
    parser.add_argument("--plays", type=int, nargs="*", default=[1_000_000, 8_000_000], help="of ALS")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--home", type=Path, help="a home whose users are scored, and whose plays train")
    parser.add_argument("--users", type=int, nargs="*", default=[2_000, 7_000])
    parser.add_argument("--trees", type=int, nargs="*", default=[40], help="of each ranker")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds a case may take")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        what, size, nodes, folder = arguments.case
        case = Case(what, int(size), int(nodes))
        run = {"score": run_score, "als": run_als, "rankers": run_rankers}.get(what, run_join)
        print(json.dumps(run(case, Path(folder))), flush=True)
        return
    cases = [
        Case(store, rows, nodes)
        for store, sizes in (("asof", arguments.rows), ("feast-ray", arguments.feast_ray_rows))
        for rows in sizes
        for nodes in arguments.nodes
    ]
    cases += [Case("als", plays, nodes) for plays in arguments.plays for nodes in (0, *arguments.nodes)]
    if arguments.home:
        cases += [Case("score", users, nodes) for users in arguments.users for nodes in arguments.nodes]
        cases += [Case("rankers", trees, nodes) for trees in arguments.trees for nodes in arguments.nodes]
    done: dict[Case, dict[str, Any]] = {}
    print(f"{'what':>10} {'size':>10} {'nodes':>5} {'seconds':>8} {'crossed MB':>10} {'driver MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {*arguments.rows, *arguments.feast_ray_rows}
        if sizes:
            make_sources(folder)
        if arguments.plays:
            # Imported here, as it would count in the memory of the other cases' drivers.
            from benchmarks.cluster_als import make_plays

            for plays in {*arguments.plays, *map(_warm_up_plays, arguments.plays)}:
                make_plays(folder, plays)
        for rows in sizes | set(map(_warm_up_rows, sizes)):
            make_entities(folder / f"entities_{rows}.parquet", rows)
        for case in cases:
            of_home = case.what in {"score", "rankers"}
            measured = done[case] = measure(case, arguments.home if of_home else folder, arguments.timeout)
            write_result(arguments.out, case, measured)
            crossed, peak = (measured.get(name) or 0 for name in ("crossed_bytes", "driver_peak_bytes"))
            print(
                f"{case.what:>10} {case.size:>10,} {case.nodes:>5} {measured.get('seconds', 0):>8.1f} "
                f"{crossed / 1e6:>10.1f} {peak / 1e6:>9.0f}  {_rest_of(measured)}",
                flush=True,
            )
    if arguments.plays:
        _print_growth(done)


def _print_growth(done: dict[Case, dict[str, Any]]) -> None:
    """What a million more plays cost ALS, from its smallest to its largest size; and ten times KuaiRec."""
    from benchmarks.cluster_als import TEN_TIMES_PLAYS

    for nodes in sorted({case.nodes for case in done if case.what == "als"}):
        seconds = {
            case.size: measured["seconds"]
            for case, measured in done.items()
            if case.what == "als" and case.nodes == nodes and "seconds" in measured
        }
        few, many = min(seconds, default=0), max(seconds, default=0)
        if few < many:
            a_play = (seconds[many] - seconds[few]) / (many - few)
            ten_times = seconds[many] + a_play * (TEN_TIMES_PLAYS - many)
            print(
                f"ALS, {nodes} nodes: {a_play * 1e6:.2f} s per million plays, "
                f"{ten_times:.0f} s at ten times KuaiRec"
            )


def _rest_of(measured: dict[str, Any]) -> str:
    shown = ("seconds", "crossed_bytes", "driver_peak_bytes", "load", "rows")
    return ", ".join(f"{name} {value}" for name, value in measured.items() if name not in shown)


def write_result(path: Path, case: Case, measured: dict[str, Any]) -> None:
    """Add a case's figures to the file; those of other cases on this machine stay."""
    path.parent.mkdir(exist_ok=True)
    measured_on = machine("feast", "pyarrow", "ray")
    before = json.loads(path.read_text()) if path.exists() else {}
    lines = before["results"] if before.get("machine") == measured_on else []
    kept = [line for line in lines if Case(line["what"], line["size"], line["nodes"]) != case]
    kept.append({**asdict(case), **measured})
    kept.sort(key=lambda line: (line["what"], line["size"], line["nodes"]))
    path.write_text(json.dumps({"machine": measured_on, "results": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
