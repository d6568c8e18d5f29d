"""How many interactions does ALS take on one node: bytes and CPU seconds of each, at two sizes?

One first fit and one refit of random plays, 64 factors, as many users and videos for each play as KuaiRec
has. Each size runs in a process of its own; memory is its peak above that of a process that has made the
plays and not fitted them.

    python benchmarks/als_size.py
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.collaborative.biased_als import biased_fits
from pipelines.collaborative.log import Log

RESULT = Path(__file__).parent / "results" / "als_size.json"
KUAIREC_PLAYS, KUAIREC_USERS, KUAIREC_VIDEOS = 12_530_806, 7_176, 10_728
START = datetime(2020, 7, 5, tzinfo=UTC)


def as_plays(user: np.ndarray, video: np.ndarray, seconds: np.ndarray, ratio: np.ndarray) -> pl.DataFrame:
    """Plays as ALS reads them. seconds: of each play since START, ascending; ratio: float32."""
    return pl.DataFrame(
        {
            columns.USER_ID: user,
            columns.VIDEO_ID: video,
            columns.EVENT_TIMESTAMP: pl.Series(seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))
            + (START - datetime(1970, 1, 1, tzinfo=UTC)),
            columns.WATCH_RATIO: ratio,
        }
    )


def run(plays: int) -> dict[str, float]:
    """Fit twice in this process."""
    random = np.random.default_rng(5)
    share = plays / KUAIREC_PLAYS
    seconds = np.sort(random.integers(0, 14 * 86_400, plays))
    frame = as_plays(
        random.integers(0, max(2, int(KUAIREC_USERS * share)), plays),
        random.integers(0, max(2, int(KUAIREC_VIDEOS * share)), plays),
        seconds,
        random.random(plays, dtype=np.float32) * 3,
    )
    before = _peak_bytes()
    settings = Settings.model_validate({"home": Path(), "threads": 1})
    cutoffs = [START + timedelta(days=14), START + timedelta(days=15)]
    spent = []
    started = time.process_time()
    for _ in biased_fits(Log.of(frame, cutoffs, settings.data.targets.watch_ratio_clip), settings):
        spent.append(time.process_time() - started)
        started = time.process_time()
    return {
        "plays": plays,
        "first_fit_us_a_play": spent[0] / plays * 1e6,
        "refit_us_a_play": spent[1] / plays * 1e6,
        "bytes_a_play": (_peak_bytes() - before) / plays,
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run each size in a process of its own, print, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plays", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run(arguments.case)))
        return
    rows = []
    for plays in arguments.plays:
        command = [sys.executable, __file__, "--case", str(plays)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(
        json.dumps({"machine": machine("numpy", "polars"), "results": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
