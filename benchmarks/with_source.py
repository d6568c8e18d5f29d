r"""Are the published lists better with one more candidate source, and what does it cost?

For each log, lists of nightreel by default settings (but for the label's) and by the same with one more
source, from the same features. Prints and writes NDCG@10, recall@20, recall@100 and P@20 of both, the paired
difference with its 95 % bootstrap interval over users, and the CPU seconds of `train`.

    python benchmarks/with_source.py sequence --movielens recbole-1.2.1-py3-none-any.whl
    python benchmarks/with_source.py sequence --held-out kuairand=FOLDER
    python benchmarks/with_source.py sequence --feed pure=FOLDER --days 20220430 20220501 \
        --setting "data.max_reject_share = 0.05"    # 2 % of this feed's rows have no length
"""

import argparse
import json
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chosen_logs import add_log_arguments, of_all_days, tasks
from benchmarks.list_metrics import METRICS, UserFigures, pooled, table, user_figures
from benchmarks.measured_process import machine
from benchmarks.nightreel_home import FEATURE_STEPS, make_home, published, run_steps
from benchmarks.peer_logs import PeerTask
from nightreel.core.settings import RetrievalSettings

RESULT = Path(__file__).parent / "results" / "with_source.json"
WITHOUT, WITH = "without", "with"


def figures_of(
    task: PeerTask, source: str, chosen: argparse.Namespace
) -> tuple[dict[str, UserFigures], dict[str, float]]:
    """The figures of both, and the CPU seconds of their `train`."""
    folder = chosen.work / task.name
    made = folder / "features"
    make_home(task, made, chosen.setting)
    run_steps(FEATURE_STEPS, made, chosen.nightreel)
    found, seconds = {}, {}
    for name, more in ((WITHOUT, []), (WITH, [source])):
        home = folder / name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(made, home)
        sources = ",".join([RetrievalSettings().sources, *more])
        with (home / "nightreel.toml").open("a", encoding="utf-8") as file:
            file.write(f"retrieval.sources = {json.dumps(sources)}\n")
        before = _cpu_seconds_of_children()
        run_steps(("train",), home, chosen.nightreel)
        seconds[name] = _cpu_seconds_of_children() - before
        run_steps(("score",), home, chosen.nightreel)
        lists = task.judged(published(home))
        found[name] = user_figures(lists, task.relevant, micro_recall=task.by_day)
        print(f"  {task.name}, {name} {source}: train {seconds[name]:.0f} CPU s", flush=True)
    return found, seconds


def markdown(source: str, tables: dict[str, Any]) -> str:
    """A row a log."""
    lines = [
        f"| with `{source}` less without | " + " | ".join(METRICS) + " |",
        "|---|" + "---|" * len(METRICS),
    ]
    for name, rows in tables.items():
        cells = []
        for metric in METRICS:
            with_, without, gain = (rows[row][metric] for row in (WITH, WITHOUT, "difference"))
            cells.append(
                f"{with_['value']:.4f} − {without['value']:.4f} = {gain['value']:+.4f} "
                f"[{gain['low']:+.4f}, {gain['high']:+.4f}]"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make both kinds of lists of each log, judge them, and add the table to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="the candidate source that is added")
    add_log_arguments(parser)
    chosen = parser.parse_args()
    tables: dict[str, Any] = {}
    for part in tasks(chosen):
        made = {task.name: figures_of(task, chosen.source, chosen) for task in part}
        figures = {name: of for name, (of, _) in made.items()}
        if len(part) > 1:
            figures[of_all_days(part)] = {
                name: pooled([of[name] for of in figures.values()]) for name in (WITHOUT, WITH)
            }
        for name, of in figures.items():
            tables[name] = table(of, WITH)
            if name in made:
                tables[name]["train_cpu_s"] = made[name][1]
    if not tables:
        parser.error("name a log: --movielens, --held-out, --feed with --days, or --synthetic")
    print(f"\n{markdown(chosen.source, tables)}", flush=True)
    earlier = json.loads(RESULT.read_text(encoding="utf-8"))["sources"] if RESULT.is_file() else {}
    earlier[chosen.source] = earlier.get(chosen.source, {}) | tables
    content = {"machine": machine("jax", "lightgbm", "implicit"), "sources": earlier}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
