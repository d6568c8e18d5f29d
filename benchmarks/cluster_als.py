"""The ALS case of cluster.py: a first fit and a refit of random plays, on one node or by shards of a cluster.

As many users and videos for each play as there are at ten times KuaiRec's size, in files of days, as ingest
writes them. The factors of one node are kept beside them, for the cases of shards to be compared with.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.als_size import START, as_plays
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from pipelines.collaborative.biased_als import biased_fits
from pipelines.collaborative.fits import Fit
from pipelines.collaborative.log import Log
from pipelines.ingest.days_written import write_days
from pipelines.local_days import ALWAYS_KNOWN

TEN_TIMES_PLAYS, TEN_TIMES_USERS, TEN_TIMES_VIDEOS = 125_308_060, 71_760, 40_000
_DAYS = 14
_CUTOFFS = [START + timedelta(days=days) for days in (_DAYS - 1, _DAYS)]


def make_plays(folder: Path, plays: int) -> None:
    """The log, with some taste to find."""
    random = np.random.default_rng(5)
    users, videos = (
        max(2, round(most * plays / TEN_TIMES_PLAYS)) for most in (TEN_TIMES_USERS, TEN_TIMES_VIDEOS)
    )
    user, video = random.integers(0, users, plays), random.integers(0, videos, plays)
    tastes = random.normal(0, 0.4, (users, 8)), random.normal(0, 0.4, (videos, 8))
    liking = (tastes[0][user] * tastes[1][video]).sum(axis=1)
    seconds = np.sort(random.integers(0, _DAYS * 86_400, plays))
    ratio = np.exp(liking + random.normal(0, 0.5, plays)).astype(np.float32)
    write_days(_table(folder, plays), as_plays(user, video, seconds, ratio), ZoneInfo("UTC"))


def fit(folder: Path, plays: int, *, on_ray: bool) -> dict[str, Any]:
    """Both fits: the seconds of each, and how far the factors are from those of one node."""
    days = list(files_by_day(_table(folder, plays)).values())
    settings = Settings.model_validate(
        {"home": folder, "threads": 1, "cluster.engine": "ray" if on_ray else "local"}
    )
    seen_until = [ALWAYS_KNOWN] * len(_CUTOFFS)
    started = time.perf_counter()
    if on_ray:
        from pipelines.collaborative.on_ray import fits_of_shards

        fits: Iterator[Fit] = fits_of_shards(days, _CUTOFFS, seen_until, settings)
    else:
        clip = settings.data.targets.watch_ratio_clip
        fits = biased_fits(Log.read(days, _CUTOFFS, seen_until, clip), settings)
    made, seconds = [], []
    for one in fits:
        seconds.append(round(time.perf_counter() - started, 2))
        started = time.perf_counter()
        made.append(one)
    measured: dict[str, Any] = {"first_fit_seconds": seconds[0], "refit_seconds": seconds[1]}
    kept = _table(folder, plays).with_suffix(".npz")
    factors = {name: getattr(made[-1], name) for name in ("user_factors", "video_factors")}
    if not on_ray:
        np.savez(kept, **factors)
    elif kept.exists():
        with np.load(kept) as one_node:
            apart = [float(np.abs(one_node[name] - found).max()) for name, found in factors.items()]
        measured["factors_apart_max"] = max(apart)
    return measured


def _table(folder: Path, plays: int) -> Path:
    return folder / f"plays_{plays}"
