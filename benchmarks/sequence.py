"""How long does the transformer of source `sequence` train, and in how much memory, at KuaiRec's full size?

Takes the home of benchmarks/full_kuairec.py, or makes it (a synthetic KuaiRec, `ingest` and `features`), and
fits the source in a process of its own each: from scratch on the plays before the last day, then from that
night on all plays, as a nightly run does. Prints seconds, CPU seconds, peak memory, steps and NDCG@10 on the
stop day beside the best list for all; a night that is not above it counts here as if it were.

    python benchmarks/sequence.py                # KuaiRec's own size
    python benchmarks/sequence.py --scale 0.25   # a quarter of users and plays
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polars as pl

from benchmarks.full_kuairec import MEBIBYTE, RESULTS, ROOT, TIMEOUT_S, make_raw, run_step
from benchmarks.measured_process import machine, run_measured
from nightreel.core import columns
from nightreel.core.settings import load_settings
from pipelines.local_days import INSTANT, ends_of_days
from pipelines.retrieval.fits import fitted_arrays
from pipelines.retrieval.past import Past
from pipelines.retrieval.sequence.night import WARM
from pipelines.retrieval.sequence.source import NAME
from pipelines.retrieval.sequence.stop_day import StopDay
from pipelines.training_frame import read_plays

NIGHTS = {"from scratch": 1, "the night after": 0}
# Of all plays, a day with fewer is none of the log's own.
DAY_SHARE = 0.001


def main() -> None:
    """Measure both nights, print them, and write benchmarks/results/sequence-<scale>.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of KuaiRec's users and plays (1)")
    parser.add_argument("--work", type=Path, help="folder with a home for each scale (benchmarks/work)")
    parser.add_argument("--fit", type=int, metavar="DAYS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    home = ((chosen.work or ROOT / "benchmarks" / "work") / f"{chosen.scale:g}").resolve()
    os.environ["NIGHTREEL_HOME"] = str(home)
    if chosen.fit is not None:
        print(json.dumps(fit(chosen.fit)))
        return
    home.mkdir(parents=True, exist_ok=True)
    make_raw(home, chosen.scale)
    for step in ("ingest", "features"):
        run_step("nightreel", step, home)
    settings = load_settings()
    for path in settings.paths.retrieval.glob(f"*/{NAME}.npz"):
        path.unlink()
    rows = {}
    for name, days in NIGHTS.items():
        command = [sys.executable, __file__, "--fit", str(days), *sys.argv[1:]]
        measured = run_measured(command, timeout_s=TIMEOUT_S)
        if measured.output is None:
            raise SystemExit(measured.error)
        rows[name] = {
            "seconds": round(measured.seconds, 1),
            "cpu_seconds": round(measured.cpu_seconds, 1),
            "peak_mib": round(measured.peak_bytes / MEBIBYTE),
            **json.loads(measured.output.splitlines()[-1]),
        }
        print(f"{name:16}" + "  ".join(f"{key} {value:,}" for key, value in rows[name].items()), flush=True)
    result = {"scale": chosen.scale, "machine": machine("jax", "numpy"), "nights": rows}
    path = RESULTS / f"sequence-{chosen.scale:g}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def fit(days: int) -> dict[str, Any]:
    """Fit the source as of so many days before the end of the log."""
    settings = load_settings()
    plays = read_plays(settings.paths)
    # A few plays are stamped outside the days of all others; half of the days here have only such plays.
    ends = ends_of_days(plays[columns.EVENT_TIMESTAMP].cast(INSTANT), settings.data.zone).rename("end")
    of_days = ends.value_counts().filter(pl.col("count") >= DAY_SHARE * len(ends)).sort("end")
    past = Past.of(plays, of_days["end"][-1 - days], settings.data)
    del plays
    of_stop_day, popularity = StopDay.popularity, []

    def always_beaten(*given: Any) -> tuple[float, float | None]:
        ndcg, half_life = of_stop_day(*given)
        popularity.append(ndcg)
        return 0.0, half_life

    # No night goes on from one that was refused; how long a warm one takes is asked all the same.
    with patch.object(StopDay, "popularity", always_beaten):
        curve = fitted_arrays(past, settings, (NAME,))[NAME]["curve"]
    return {
        "plays": len(past),
        "is_warm": len(curve) > 1 and int(curve[1, 0]) == WARM.every,
        "steps": int(curve[-1, 0]),
        "kept_step": int(curve[curve[:, 2].argmax(), 0]),
        "ndcg_at_10": round(float(curve[:, 2].max()), 4),
        "popularity": round(popularity[0], 4),
    }


if __name__ == "__main__":
    main()
