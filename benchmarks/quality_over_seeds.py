"""What does the demo's quality hang on? The demo over several seeds, as several processors compute it.

Each world is made, trained on and evaluated by the real commands with the demo's sizes and settings, but for
what has no part in the hybrid (LambdaMART, the original work's protocol, the lists). Prints each world's
NDCG@10 over the fully observed pairs, and how far systems are apart, with 95 % intervals over users.
Writes benchmarks/results/quality_over_seeds.json, one entry a world: what is there is not made again.

    python benchmarks/quality_over_seeds.py
    python benchmarks/quality_over_seeds.py --seeds 1 2 --levels "this one"
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from nightreel.synthetic_home import DEMO

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
_NO_PART = {"NIGHTREEL_LAMBDAMART_PLAYS": "0", "NIGHTREEL_AS_PUBLISHED_PLAYS": "0"}
_TIMEOUT_S = 1_800


def run(seed: int, level: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The figures of one world on one processor: by metric and system."""
    sizes = [f"--{name}={getattr(DEMO, name)}" for name in ("users", "videos", "interactions", "days")]
    with TemporaryDirectory(prefix="nightreel-quality-") as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
        environment = kept | _NO_PART | level | {"NIGHTREEL_HOME": home}
        feast = [BIN / "feast", "-c", ROOT / "feature_repo", "apply"]
        make = ["synthesize", *sizes, f"--seed={seed}"]
        for step in (make, ["ingest"], ["features"], feast, ["train"], ["evaluate"]):
            command = step if step is feast else [BIN / "nightreel", *step]
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_TIMEOUT_S)
        records = json.loads(Path(home, "data", "evaluation", "metrics.json").read_text(encoding="utf-8"))
    return {
        metric: {
            record["system"]: [round(record[name], 4) for name in ("value", "low", "high")]
            for record in records
            if (record["protocol"], record["metric"], record["k"], record["label"], record["slice"])
            == ("kuairec", metric, 10, "ratio", "all")
            and record["system"] in SYSTEMS
        }
        for metric in ("ndcg", "ndcg_minus_hybrid")
    }


def table(worlds: list[dict[str, Any]]) -> str:
    """The figures as Markdown, a line a world."""
    lines = [
        "| seed | processor | " + " | ".join(SYSTEMS) + " | hybrid - engagement | hybrid - ALS |",
        "|" + "---|" * (len(SYSTEMS) + 4),
    ]
    for world in worlds:
        ndcg, less = world["ndcg"], world["ndcg_minus_hybrid"]
        gains = [
            f"{-value:.3f} ({-high:.3f} to {-low:.3f})"
            for value, low, high in (less["popularity_by_engagement"], less["als"])
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
    arguments = parser.parse_args()
    worlds = json.loads(arguments.out.read_text())["results"] if arguments.out.is_file() else []
    done = {(world["seed"], world["level"]) for world in worlds}
    for level in arguments.levels:
        for seed in arguments.seeds:
            if (seed, level) not in done:
                worlds.append({"seed": seed, "level": level, **run(seed, LEVELS[level])})
                print(table(worlds[-1:]).splitlines()[-1], flush=True)
                of = machine("numpy", "lightgbm", "polars")
                arguments.out.write_text(json.dumps({"machine": of, "results": worlds}, indent=1) + "\n")
    print(table(worlds))


if __name__ == "__main__":
    main()
