"""Does ALS whose users are in shards give one node's factors, and what crosses between the shards?

A prototype on Ray. Each shard holds the plays of its users, by hash, and solves them by itself. Of the videos
each shard makes what its plays add to the normal equations (a matrix a video: the Gram matrix and the right
hand side), a block of videos after the other; the sums are solved by tasks, and only factors go back. So a
node holds its users' plays and factors, and of the videos their factors and one block of matrices.

    python benchmarks/als_shards.py                    # 4 million random plays, two shards of a core each
    python benchmarks/als_shards.py --plays 1000000 --shards 1 2
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
import ray
from scipy.linalg.lapack import sposv

from benchmarks.als_size import KUAIREC_PLAYS, KUAIREC_USERS, KUAIREC_VIDEOS, START, as_plays
from benchmarks.measured_process import machine
from nightreel.core.settings import Settings
from pipelines.collaborative.biased_als import BIAS_DIMENSIONS, biased_fits
from pipelines.collaborative.fits import FIRST_ITERATIONS, REGULARIZATION_PLAYS
from pipelines.collaborative.least_squares import BIAS_REGULARIZATION, Plays, Side, solve
from pipelines.collaborative.log import Log
from pipelines.hashing import uniform_hash

RESULT = Path(__file__).parent / "results" / "als_shards.json"
BLOCK_VIDEOS = 2_000


def random_plays(plays: int) -> pl.DataFrame:
    """As many users and videos for each play as KuaiRec has, with some taste to find."""
    random = np.random.default_rng(5)
    users, videos = (max(2, int(n * plays / KUAIREC_PLAYS)) for n in (KUAIREC_USERS, KUAIREC_VIDEOS))
    user, video = random.integers(0, users, plays), random.integers(0, videos, plays)
    tastes = random.normal(0, 0.4, (users, 8)), random.normal(0, 0.4, (videos, 8))
    liking = (tastes[0][user] * tastes[1][video]).sum(axis=1)
    seconds = np.sort(random.integers(0, 14 * 86_400, plays))
    ratio = np.exp(liking + random.normal(0, 0.5, plays)).astype(np.float32)
    return as_plays(user, video, seconds, ratio)


class Shard:
    """The plays of some users."""

    def __init__(self, users: np.ndarray, videos: np.ndarray, targets: np.ndarray, all_videos: int) -> None:
        """users: rows from 0 without a gap; videos: rows of all shards' videos."""
        self._by_user = Plays.grouped(users, videos, targets)
        order = np.argsort(videos, kind="stable")
        self._starts = np.append(0, np.cumsum(np.bincount(videos, minlength=all_videos)))
        self._users, self._targets = users[order], targets[order]
        self._side: Side | None = None

    def solve_users(self, video_side: Side, mean: float) -> None:
        """The best factors of this shard's users, which stay here."""
        counts = np.diff(self._by_user.starts)
        self._side = solve(
            self._by_user, counts, video_side, mean, regularization=REGULARIZATION_PLAYS, threads=1
        )

    def sums(self, videos: range, mean: float) -> np.ndarray:
        """What these plays add to the normal equations of some videos: float32 [videos, size, size]."""
        assert self._side is not None
        ones = np.ones(len(self._side.biases), dtype=np.float32)
        known = np.column_stack([self._side.factors, ones, -self._side.biases])
        found = np.empty((len(videos), known.shape[1], known.shape[1]), dtype=np.float32)
        for at, video in enumerate(videos):
            played = slice(self._starts[video], self._starts[video + 1])
            design = known[self._users[played]]
            design[:, -1] += self._targets[played] - np.float32(mean)
            found[at] = design.T @ design
        return found

    def factors(self) -> tuple[Side, float]:
        """The users' factors; and this process's processor seconds so far."""
        assert self._side is not None
        return self._side, time.process_time()


def solved(*parts: np.ndarray) -> np.ndarray:
    """Factors and bias of each video of a block, from all shards' sums: float32 [videos, size + 1]."""
    both = np.stack(parts).sum(axis=0, dtype=np.float32)
    size = both.shape[1] - 2
    ridge = np.diag(np.append(np.full(size, REGULARIZATION_PLAYS), BIAS_REGULARIZATION)).astype(np.float32)
    found = np.empty((len(both), size + 1), dtype=np.float32)
    for at, one in enumerate(both):
        _, found[at], failed = sposv(one[:-1, :-1] + ridge, one[:-1, -1])
        assert not failed
    return found


def sharded(log: Log, settings: Settings, shards: int) -> dict[str, Any]:
    """One fit by shards, its factors in the order of the log's rows."""
    targets = np.log1p(np.clip(log.ratios, 0, settings.data.targets.watch_ratio_clip))
    mean = float(targets.mean(dtype=np.float64))
    of_user = np.minimum(
        (uniform_hash(log.users.ids.astype(np.uint64), 9) * shards).astype(np.int64), shards - 1
    )
    actors: list[Any] = []
    members: list[np.ndarray] = []
    for shard in range(shards):
        members.append(np.flatnonzero(of_user == shard))
        local = np.zeros(len(of_user), dtype=np.int32)
        local[members[-1]] = np.arange(len(members[-1]))
        rows = of_user[log.users.rows] == shard
        own = (local[log.users.rows[rows]], log.videos.rows[rows], targets[rows])
        actors.append(ray.remote(num_cpus=1)(Shard).remote(*own, len(log.videos.ids)))
    size = settings.features.als.factors - BIAS_DIMENSIONS
    videos = Side.random(len(log.videos.ids), size, np.random.default_rng(settings.seed))
    ray.get([actor.solve_users.remote(videos, mean) for actor in actors])
    started = time.perf_counter()
    for iteration in range(FIRST_ITERATIONS):
        side = ray.put(videos)
        if iteration:
            ray.get([actor.solve_users.remote(side, mean) for actor in actors])
        videos = _videos_solved(actors, len(log.videos.ids), mean)
    seconds = time.perf_counter() - started
    found = np.empty((len(of_user), size + 1), dtype=np.float32)
    spent = []
    for member, actor in zip(members, actors, strict=True):
        of_users: Side
        of_users, cpu = ray.get(actor.factors.remote())
        found[member] = np.column_stack([of_users.factors, of_users.biases])
        spent.append(round(cpu, 1))
    matrices = len(log.videos.ids) * (size + 2) ** 2 * 4 * shards
    return {
        "users": found,
        "videos": np.column_stack([videos.factors, videos.biases]),
        "mean": mean,
        "seconds": round(seconds, 1),
        "cpu_seconds_of_shards": spent,
        "mib_of_matrices_an_iteration": round(matrices / 2**20),
    }


def _videos_solved(actors: Sequence[Any], videos: int, mean: float) -> Side:
    blocks = [range(at, min(at + BLOCK_VIDEOS, videos)) for at in range(0, videos, BLOCK_VIDEOS)]
    found = []
    for block in blocks:  # one at a time: this is what a node has to hold
        parts = [actor.sums.remote(block, mean) for actor in actors]
        found.append(ray.get(ray.remote(num_cpus=0)(solved).remote(*parts)))
    both = np.concatenate(found)
    return Side(both[:, :-1].copy(), both[:, -1].copy())


def main() -> None:
    """Fit on one node and by shards, compare, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plays", type=int, default=4_000_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    settings = Settings.model_validate({"home": Path(), "threads": 1})
    log = Log.of(random_plays(arguments.plays), [START + timedelta(days=15)])
    started = time.process_time()
    (one,) = biased_fits(log, settings)
    one_node_s = round(time.process_time() - started, 1)
    ray.init("local", num_cpus=max(arguments.shards), include_dashboard=False, log_to_driver=False)
    rows = []
    for shards in arguments.shards:
        found = sharded(log, settings, shards)
        ones = np.ones((len(found["users"]), 1)), np.ones((len(found["videos"]), 1))
        users = np.column_stack([found["users"][:, :-1], found["mean"] + found["users"][:, -1:], ones[0]])
        videos = np.column_stack([found["videos"][:, :-1], ones[1], found["videos"][:, -1:]])
        _, of_users = log.users.by_id(users)
        _, of_videos = log.videos.by_id(videos)
        # Factors themselves may turn together: what counts is their product.
        some = slice(0, 2_000)
        scores = one.user_factors[some] @ one.video_factors[some].T
        apart = np.abs(of_users[some] @ of_videos[some].T - scores)
        rows.append(
            {
                "shards": shards,
                "one_node_cpu_seconds": one_node_s,
                **{name: found[name] for name in found if name not in ("users", "videos", "mean")},
                "score_apart_max": float(apart.max()),
                "factor_apart_max": float(np.abs(of_users - one.user_factors).max()),
                "spread_of_scores": float(scores.std()),
            }
        )
        print(rows[-1], flush=True)
    result = {"machine": machine("numpy", "ray"), "plays": arguments.plays, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    # Workers import what they run by this name.
    from benchmarks import als_shards  # noqa: PLW0406

    als_shards.main()
