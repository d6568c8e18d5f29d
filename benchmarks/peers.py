r"""Are nightreel's published lists better than those of other libraries' models, on the same log?

For each log, lists of nightreel (its own steps in a home made for this, default settings but for the label's
threshold), of its candidate source `sequence` alone, and of each peer (peer_models.py), 100 videos a user,
none played before; judged by what users then liked. Of a list that a fully observed matrix judges, only the
videos that the matrix knows count. Prints a table a log: NDCG@10, recall@20, recall@100 and P@20 with 95 %
bootstrap intervals over users, and nightreel less the best peer on the same resamples. Runs in the
environment of `make peers`; nightreel has its own, which needs the extra `sequence` for that source.
Lists are kept in --work: --only makes some systems' anew. Without a package that a peer needs, the tables of
the others are printed, and the results stay as they are.

    python benchmarks/peers.py --movielens recbole-1.2.1-py3-none-any.whl
    python benchmarks/peers.py --held-out kuairand=FOLDER
    python benchmarks/peers.py --feed pure=FOLDER --days 20220430 20220501 \
        --setting "data.max_reject_share = 0.05"    # 2 % of this feed's rows have no length
    python benchmarks/peers.py --synthetic 400 1200 200000 --only nightreel
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["TQDM_DISABLE"] = "1"
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks.chosen_logs import add_log_arguments, of_all_days, tasks
from benchmarks.list_metrics import METRICS, UserFigures, pooled, table, user_figures
from benchmarks.measured_process import machine
from benchmarks.nightreel_home import FEATURE_STEPS, ROOT, make_home, nightreel_lists, run_in_home, run_steps
from benchmarks.peer_logs import PeerTask
from benchmarks.peer_models import DEPTH, names, peer_lists, with_unknown_users

RESULT = Path(__file__).parent / "results" / "peers.json"
OURS, ALONE = "nightreel", "sequence alone"
PACKAGES = ("rectools", "pm-implicit", "torch", "lightgbm", "numpy", "pandas")


def figures_of(
    task: PeerTask, chosen: argparse.Namespace, missing: dict[str, str | None]
) -> dict[str, UserFigures]:
    """Every system's figures; lists are made where they are not kept, or where --only names their system.

    Args:
        missing: gets the package that is not installed, by the peer that has no lists without it.
    """
    work = chosen.work / task.name
    users = task.relevant.user_id.unique()
    print(f"\n{task.name}: {len(users):,} users, {len(task.relevant):,} liked pairs", flush=True)
    found = {}
    for system in (*names(by_day=task.by_day), ALONE, OURS):
        kept = work / f"{system}.csv"
        if not kept.is_file() or chosen.only is None or system in chosen.only:
            started = time.perf_counter()
            if system == OURS:
                lists = nightreel_lists(task, work / "home", chosen.nightreel, chosen.setting)
            elif system == ALONE:
                lists = lists_of_transformer(task, work / "home-alone", chosen.nightreel, chosen.setting)
                lists = with_unknown_users(lists, task.plays, users, by_day=task.by_day)
            else:
                try:
                    lists = peer_lists(system, task.plays, users, by_day=task.by_day)
                except ModuleNotFoundError as error:
                    missing[system] = error.name
                    continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            lists[lists["rank"] <= DEPTH].to_csv(kept, index=False)
            print(f"  {system}: lists in {time.perf_counter() - started:.1f} s", flush=True)
        judged = task.judged(pd.read_csv(kept))
        found[system] = user_figures(judged, task.relevant, micro_recall=task.by_day)
    return found


def lists_of_transformer(
    task: PeerTask, home: Path, bin_folder: Path, more_settings: list[str]
) -> pd.DataFrame:
    """The lists of the candidate source `sequence` alone, which needs JAX in nightreel's environment."""
    make_home(task, home, more_settings)
    run_steps(FEATURE_STEPS, home, bin_folder)
    lists = home / "lists.csv"
    script = ROOT / "benchmarks" / "source_lists.py"
    run_in_home([str(bin_folder / "python"), str(script), str(home), "sequence", str(lists)], home, ALONE)
    return pd.read_csv(lists)


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
    add_log_arguments(parser)
    parser.add_argument(
        "--only",
        nargs="*",
        choices=[*names(by_day=True), ALONE, OURS],
        metavar="SYSTEM",
        help="systems whose lists are made anew (all); without a name, only those that are missing",
    )
    parser.add_argument("--result", type=Path, default=RESULT, help="JSON that the tables are added to")
    chosen = parser.parse_args()
    tables = {}
    missing: dict[str, str | None] = {}
    for part in tasks(chosen):
        figures = {task.name: figures_of(task, chosen, missing) for task in part}
        if len(part) > 1:
            figures[of_all_days(part)] = {
                system: pooled([of[system] for of in figures.values()])
                for system in next(iter(figures.values()))
                if all(system in of for of in figures.values())
            }
        for name, systems in figures.items():
            tables[name] = table(systems, OURS, apart=(ALONE,))
            print(f"\n{markdown(name, tables[name])}", flush=True)
    if not tables:
        parser.error("name a log: --movielens, --held-out, --feed with --days, or --synthetic")
    if missing:
        raise SystemExit(
            f"No lists of {', '.join(missing)}: {', '.join(sorted(map(str, set(missing.values()))))} is not "
            "installed. Install benchmarks/requirements-peers.lock, as `make peers` does, and run this "
            f"again: the other lists are kept in {chosen.work}. {chosen.result} was not changed."
        )
    earlier = (
        json.loads(chosen.result.read_text(encoding="utf-8"))["tables"] if chosen.result.is_file() else {}
    )
    content = {"machine": machine(*PACKAGES), "tables": earlier | tables}
    chosen.result.parent.mkdir(parents=True, exist_ok=True)
    chosen.result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
