"""Lists of one candidate source alone, as of the end of a home's log: a CSV of user_id, video_id, rank.

The source is fitted on the whole log, as of the local midnight after it, and lists what it scores highest of
what a user has not played. The home needs its features, no model.

    python benchmarks/source_lists.py HOME SOURCE LISTS.csv
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import load_settings
from pipelines.local_days import end_of_day
from pipelines.retrieval.fits import fitted_arrays
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import source_of
from pipelines.retrieval.sources import Catalogue
from pipelines.training_frame import read_plays

DEPTH = 100
_BLOCK_USERS = 128


def main() -> None:
    """Fit the source, or read its fit, and write the lists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("home", "source", "out"):
        parser.add_argument(name)
    chosen = parser.parse_args()
    home, source, out = chosen.home, chosen.source, chosen.out
    os.environ["NIGHTREEL_HOME"] = str(Path(home).resolve())
    settings = load_settings()
    plays = read_plays(settings.paths)
    zone = settings.data.zone
    last = plays[columns.EVENT_TIMESTAMP][-1].astimezone(zone)
    past = Past.of(plays, end_of_day(last.date(), zone), settings.data)
    arrays = fitted_arrays(past, settings, (source,))[source]
    if not arrays.get("used", True):
        print(f"{source} is no better than popularity on its stop day; its lists all the same:")
        arrays = {**arrays, "used": np.array(True)}
    videos = len(past.video_id)
    none = np.full(videos, -1, dtype=np.int64)
    fitted = source_of(source).over(
        arrays, Catalogue(past.video_id, np.arange(videos), none, none, none, none)
    )
    index = PlaysByUser(past)
    parts = []
    for start in range(0, len(past.user_id), _BLOCK_USERS):
        users = past.user_id[start : start + _BLOCK_USERS]
        instants = np.full(len(users), past.cutoff_us)
        histories = index.histories(users, instants, np.arange(videos), videos)
        scores = fitted.scores(histories)
        scores[histories.played.nonzero()] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        row, rank = np.nonzero(np.isfinite(np.take_along_axis(scores, best, axis=1)))
        parts.append(
            pl.DataFrame(
                {
                    columns.USER_ID: users[row],
                    columns.VIDEO_ID: past.video_id[best[row, rank]],
                    columns.RANK: rank + 1,
                }
            )
        )
    pl.concat(parts).write_csv(out)


if __name__ == "__main__":
    main()
