r"""Are nightreel's published lists better than those of other libraries' models, on the same log?

For each log, lists of nightreel (its own steps in a home made for this, default settings but for the label's
threshold) and of each peer (peer_models.py), 100 videos a user, none played before; judged by what users then
liked. Of a list that a fully observed matrix judges, only the videos that the matrix knows count. Prints a
table a log: NDCG@10, recall@20, recall@100 and P@20 with 95 % bootstrap intervals over users, and nightreel
less the best peer on the same resamples. Runs in the environment of `make peers`; nightreel lies in another
one. Lists are kept in --work: --only makes some systems' anew.

    python benchmarks/peers.py --movielens recbole-1.2.1-py3-none-any.whl
    python benchmarks/peers.py --held-out kuairand=FOLDER
    python benchmarks/peers.py --feed pure=FOLDER --days 20220430 20220501 \
        --setting "data.max_reject_share = 0.05"    # 2 % of this feed's rows have no length
    python benchmarks/peers.py --synthetic 400 1200 200000 --only nightreel
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["TQDM_DISABLE"] = "1"
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks.list_metrics import METRICS, UserFigures, pooled, table, user_figures
from benchmarks.measured_process import machine
from benchmarks.movielens import write_movielens
from benchmarks.peer_logs import PeerTask, feed_day, held_out
from benchmarks.peer_models import DEPTH, names, peer_lists

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).parent / "results" / "peers.json"
OURS = "nightreel"
STEPS = ("ingest", "features", "feast apply", "train", "score")
PACKAGES = ("rectools", "pm-implicit", "lightgbm", "numpy", "pandas")


def nightreel_lists(task: PeerTask, home: Path, bin_folder: Path, more_settings: list[str]) -> pd.DataFrame:
    """What apps read after a night in a new home: user_id, video_id, rank."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    settings = [
        f"data.raw_dir = {json.dumps(str(task.raw.resolve()))}",
        *(f"{name} = {value}" for name, value in task.label.items()),
        *more_settings,
    ]
    (home / "nightreel.toml").write_text("\n".join(settings) + "\n", encoding="utf-8")
    for step in STEPS:
        nightreel(step, home, bin_folder)
    with sqlite3.connect(home / "data" / "nightreel.sqlite") as database:
        return pd.read_sql("SELECT user_id, video_id, rank FROM latest_recommendation", database)


def nightreel(step: str, home: Path, bin_folder: Path) -> None:
    """Run one step in nightreel's own environment; its last line where it fails."""
    command = ["feast", "-c", str(ROOT / "feature_repo"), "apply"] if step == "feast apply" else ["nightreel"]
    rest = [] if step == "feast apply" else step.split()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    result = subprocess.run(
        [str(bin_folder / command[0]), *command[1:], *rest],
        env=kept | {"NIGHTREEL_HOME": str(home.resolve()), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise SystemExit(f"nightreel {step} failed in {home}: {result.stderr.strip()[-2000:]}")


def figures_of(task: PeerTask, chosen: argparse.Namespace) -> dict[str, UserFigures]:
    """Every system's figures; lists are made where they are not kept, or where --only names their system."""
    work = chosen.work / task.name
    users = task.relevant.user_id.unique()
    print(f"\n{task.name}: {len(users):,} users, {len(task.relevant):,} liked pairs", flush=True)
    found = {}
    for system in (*names(by_day=task.by_day), OURS):
        kept = work / f"{system}.csv"
        if not kept.is_file() or chosen.only is None or system in chosen.only:
            started = time.perf_counter()
            if system == OURS:
                lists = nightreel_lists(task, work / "home", chosen.nightreel, chosen.setting)
            else:
                lists = peer_lists(system, task.plays, users, by_day=task.by_day)
            kept.parent.mkdir(parents=True, exist_ok=True)
            lists[lists["rank"] <= DEPTH].to_csv(kept, index=False)
            print(f"  {system}: lists in {time.perf_counter() - started:.1f} s", flush=True)
        judged = task.judged(pd.read_csv(kept))
        found[system] = user_figures(judged, task.relevant, micro_recall=task.by_day)
    return found


def tasks(chosen: argparse.Namespace) -> list[list[PeerTask]]:
    """Questions that make one table each: a held-out log is one, a feed has one a day."""
    result = []
    if chosen.movielens:
        raw = chosen.work / "movielens" / "raw"
        write_movielens(chosen.movielens, raw)
        result.append([held_out("movielens", raw, chosen.threshold)])
    if chosen.synthetic:
        users, videos, rows = chosen.synthetic
        raw = chosen.work / "synthetic" / "raw"
        if not raw.is_dir():
            home = chosen.work / "synthetic" / "world"
            home.mkdir(parents=True, exist_ok=True)
            size = f"--users {users} --videos {videos} --interactions {rows}"
            nightreel(f"synthesize {size} --out {raw.resolve()}", home, chosen.nightreel)
        result.append([held_out("synthetic", raw, chosen.threshold)])
    for name, folder in _named(chosen.held_out):
        result.append([held_out(name, folder, chosen.threshold)])
    for name, folder in _named(chosen.feed):
        result.append(
            [feed_day(f"{name}-{day}", folder, day, chosen.work / f"{name}-{day}") for day in chosen.days]
        )
    return result


def _named(given: list[str]) -> list[tuple[str, Path]]:
    for text in given:
        if "=" not in text:
            raise SystemExit(f"{text}: name the folder, like kuairand=FOLDER")
    return [(text.partition("=")[0], Path(text.partition("=")[2])) for text in given]


def markdown(name: str, rows: dict[str, dict[str, dict[str, object]]]) -> str:
    """The table of one log, for the README."""
    lines = [f"| {name} | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for system, row in rows.items():
        label = f"{OURS} less the best peer" if system == "difference" else system
        sign = "+" if system == "difference" else ""
        cells = []
        for metric in METRICS:
            cell = row[metric]
            text = f"{cell['value']:{sign}.4f} [{cell['low']:{sign}.4f}, {cell['high']:{sign}.4f}]"
            if system == "difference":
                share = "" if cell["share"] is None else f", {cell['share']:+.0%}"
                text += f" ({cell['best_peer']}{share})"
            cells.append(text)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make the lists, judge them; print the tables, and put them among the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movielens", type=Path, metavar="WHEEL", help="recbole-1.2.1-py3-none-any.whl")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="NAME=FOLDER", help="with small_matrix"
    )
    parser.add_argument(
        "--feed", action="append", default=[], metavar="NAME=FOLDER", help="judged day by day"
    )
    parser.add_argument("--days", type=int, nargs="+", default=[], help="days of the feed, like 20220501")
    parser.add_argument("--synthetic", type=int, nargs=3, metavar=("USERS", "VIDEOS", "ROWS"))
    parser.add_argument(
        "--threshold", type=float, default=1.0, help="liked, but in feeds: watch_ratio above it (1.0)"
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="LINE",
        help="of nightreel.toml, for what a log needs",
    )
    parser.add_argument(
        "--only",
        nargs="*",
        choices=[*names(by_day=True), OURS],
        metavar="SYSTEM",
        help="systems whose lists are made anew (all); without a name, only those that are missing",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "benchmarks" / "work" / "peers", help="where lists lie"
    )
    parser.add_argument(
        "--nightreel", type=Path, default=ROOT / ".venv" / "bin", help="bin folder of nightreel's own"
    )
    parser.add_argument("--result", type=Path, default=RESULT, help="JSON that the tables are added to")
    chosen = parser.parse_args()
    tables = {}
    for part in tasks(chosen):
        figures = {task.name: figures_of(task, chosen) for task in part}
        if len(part) > 1:
            systems = next(iter(figures.values()))
            name = f"{part[0].name.rpartition('-')[0]}, all days"
            figures[name] = {system: pooled([of[system] for of in figures.values()]) for system in systems}
        for name, systems in figures.items():
            tables[name] = table(systems, OURS)
            print(f"\n{markdown(name, tables[name])}", flush=True)
    if not tables:
        parser.error("name a log: --movielens, --held-out, --feed with --days, or --synthetic")
    earlier = (
        json.loads(chosen.result.read_text(encoding="utf-8"))["tables"] if chosen.result.is_file() else {}
    )
    content = {"machine": machine(*PACKAGES), "tables": earlier | tables}
    chosen.result.parent.mkdir(parents=True, exist_ok=True)
    chosen.result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
