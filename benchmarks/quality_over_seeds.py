"""What does the demo's quality hang on? The demo over several seeds, as several processors compute it.

Each world is made and trained on by the real commands with the demo's sizes and settings (but for LambdaMART,
which has no part in the hybrid). Prints each world's NDCG@10 over the fully observed pairs, and how far the
hybrid is above others, user by user, with 95 % intervals over users: what `nightreel evaluate` says of the
protocol `kuairec`, without the rest of it. Writes benchmarks/results/quality_over_seeds.json, one entry a
world: what is there is not made again.

    python benchmarks/quality_over_seeds.py
    python benchmarks/quality_over_seeds.py --seeds 1 2 --levels "this one"
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.measured_process import machine
from feature_repo.open_store import store as open_store
from nightreel.core.settings import load_settings
from nightreel.operations.synthetic_home import DEMO
from pipelines import model_registry
from pipelines.evaluate.pair_scores import Models
from pipelines.evaluate.protocols import kuairec_pairs
from pipelines.evaluate.trials import trial
from pipelines.labels import LengthBuckets
from pipelines.metrics import Order, Outcome, RankedLists, bootstrap_intervals, ndcg_at_k
from pipelines.rankers import HybridRanker

RESULT = Path(__file__).parent / "results" / "quality_over_seeds.json"
ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SEEDS = (DEMO.seed, 1, 2, 3, 4, 5, 6, 7)
_NUMPY_ALONE = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
LEVELS: dict[str, dict[str, str]] = {
    "this one": {},
    "NumPy without AVX2": _NUMPY_ALONE,
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "the lowest": _NUMPY_ALONE
    | {"OPENBLAS_CORETYPE": "Prescott", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX"},
}
SYSTEMS = ("random", "popularity_by_views", "popularity_by_engagement", "als", "hybrid", "truth")
HYBRID = SYSTEMS.index("hybrid")
_TIMEOUT_S = 3_600


def run(seed: int, level: dict[str, str]) -> dict[str, Any]:
    """The figures of one world on one processor, as `judged` gives them."""
    sizes = [f"--{name}={getattr(DEMO, name)}" for name in ("users", "videos", "interactions", "days")]
    nightreel = str(BIN / "nightreel")
    with TemporaryDirectory(prefix="nightreel-quality-") as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
        own = {"NIGHTREEL_HOME": home}
        for command in (
            [nightreel, "synthesize", *sizes, f"--seed={seed}"],
            [nightreel, "ingest"],
            [nightreel, "features"],
            [str(BIN / "feast"), "-c", str(ROOT / "feature_repo"), "apply"],
            [nightreel, "train"],
            [sys.executable, __file__, "--judge"],
        ):
            done = subprocess.run(
                command,
                env=kept | level | own,
                check=True,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def judged() -> dict[str, dict[str, list[float]]]:
    """NDCG@10 of each system of this home, and how far the hybrid is above it: mean, low and high."""
    settings = load_settings()
    folder = model_registry.champion(settings.paths).folder
    models = Models(HybridRanker.load(folder), LengthBuckets.load(folder))
    of = trial(kuairec_pairs(settings), store=open_store(), models=models, settings=settings)
    outcome = Outcome.of(of.user_id, of.targets["ratio"].liked, None, 10)
    values = np.column_stack(
        [
            ndcg_at_k(RankedLists.ordered(Order.of(of.user_id, of.video_id, of.scores[system]), outcome), 10)
            for system in SYSTEMS
        ]
    )
    found = {}
    for name, table in (("ndcg", values), ("hybrid_above", values[:, [HYBRID]] - values)):
        low, high = bootstrap_intervals(table, seed=settings.seed)
        figures = np.round([table.mean(axis=0), low, high], 4).T.tolist()
        found[name] = dict(zip(SYSTEMS, figures, strict=True))
    return found


def table(worlds: list[dict[str, Any]]) -> str:
    """The figures as Markdown, a line a world."""
    lines = [
        "| seed | processor | " + " | ".join(SYSTEMS) + " | hybrid above engagement | hybrid above ALS |",
        "|" + "---|" * (len(SYSTEMS) + 4),
    ]
    for world in worlds:
        ndcg, above = world["ndcg"], world["hybrid_above"]
        gains = [
            f"{value:.3f} ({low:.3f} to {high:.3f})"
            for value, low, high in (above["popularity_by_engagement"], above["als"])
        ]
        figures = [f"{ndcg[system][0]:.3f}" for system in SYSTEMS]
        lines.append(" | ".join([f"| {world['seed']}", world["level"], *figures, *gains]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make what is missing, print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--levels", nargs="+", choices=list(LEVELS), default=list(LEVELS))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.judge:
        print(json.dumps(judged()))
        return
    worlds = json.loads(arguments.out.read_text())["results"] if arguments.out.is_file() else []
    done = {(world["seed"], world["level"]) for world in worlds}
    for seed in arguments.seeds:
        for level in arguments.levels:
            if (seed, level) not in done:
                worlds.append({"seed": seed, "level": level, **run(seed, LEVELS[level])})
                print(table(worlds[-1:]).splitlines()[-1], flush=True)
                of = machine("numpy", "lightgbm", "polars")
                arguments.out.write_text(json.dumps({"machine": of, "results": worlds}, indent=1) + "\n")
    print(table(worlds))


if __name__ == "__main__":
    main()
