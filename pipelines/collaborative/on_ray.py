"""The ALS fits of a log that is spread over a cluster: a shard of users on each node.

The shards solve users, each its own. Of each video, every shard makes what its users' plays add to the normal
equations; these are summed and solved, a block of videos at a time, by tasks that any node may run. So no
node has the whole log, and the node that asks has the factors and nothing of the log.

The factors are those of one node but for rounding: sums are added up shard by shard, which on one node are
added up play by play (docs/scale.md has the differences).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nightreel.core import columns
from nightreel.core.cluster import connected, cores_of_nodes
from nightreel.core.settings.needs import FitNeeds
from pipelines.collaborative.biased_als import BIAS_DIMENSIONS, first_videos, fit_of, iterations_of_fits
from pipelines.collaborative.fits import Fit
from pipelines.collaborative.least_squares import Side
from pipelines.collaborative.log import Keys
from pipelines.collaborative.shard import Iteration, Shard, ShardFacts, ShardInputs, UserShare, solved_videos

# Of each video of a block, a shard sends 8.6 kB (64 factors).
_BLOCK_VIDEOS = 512
# Blocks that are under way at once: one is summed while others are sent and solved.
_BLOCKS_AT_ONCE = 4
# Not what a shard needs: Ray puts an actor that asks for nothing at all on a random node, even if it has
# a soft affinity to one.
_RESERVED_BYTES = 1
# How often a shard that was lost is made again.
_RESTARTS = 3


def fits_of_shards(
    days: list[Path],
    cutoffs: Sequence[datetime],
    seen_until: Sequence[datetime],
    settings: FitNeeds,
    done: Fit | None = None,
) -> Iterator[Fit]:
    """The fits of `biased_fits`, made on the cluster, within 1e-5 of those.

    A shard whose node is lost is made again on another one, reads its plays again, and repeats its part of
    the iteration.

    Args:
        days, cutoffs, seen_until: as `Log.read` takes them.
        done: the fit of one of the cutoffs to continue from; only later ones are fitted.

    Raises:
        InputError: if a file is not as ingest wrote it.
        NightreelError: the cluster fails.
    """
    with connected(settings.cluster):
        shards = _Shards.started(days, cutoffs, seen_until, settings)
        facts = shards.facts()
        videos = _all_videos(facts, len(cutoffs))
        plays, targets = (
            np.sum([getattr(one, name) for one in facts], axis=0) for name in ("plays", "targets")
        )
        size = settings.features.als.factors - BIAS_DIMENSIONS
        side = first_videos(videos, size, settings.seed, done)
        numbers = count()
        for fit, iterations in iterations_of_fits(cutoffs, done):
            mean = float(targets[fit] / plays[fit])
            side = side.grown(videos.known[fit])
            for _ in range(iterations):
                iteration = ray.put(Iteration(next(numbers), fit, videos.ids, side, mean))
                side = shards.videos(iteration, len(side.biases), size)
            yield fit_of(cutoffs[fit], mean, shards.users(iteration), (videos, side))


@dataclass(frozen=True)
class _Shards:
    """The shards of a cluster.

    Attributes:
        actors: each a `Shard`.
        solve: `solved_videos`, as a task.
    """

    actors: tuple[Any, ...]
    solve: Any

    @classmethod
    def started(
        cls,
        days: list[Path],
        cutoffs: Sequence[datetime],
        seen_until: Sequence[datetime],
        settings: FitNeeds,
    ) -> "_Shards":
        """One for each node: with more, as many more sums would cross the network."""
        of_nodes = cores_of_nodes()
        nodes, cores = list(of_nodes), list(of_nodes.values())
        # The nodes' shares of the users are those of the cores.
        borders = tuple((np.cumsum(cores)[:-1] / sum(cores)).tolist())
        actors = []
        for number, node in enumerate(nodes):
            inputs = ShardInputs(
                days,
                days[number :: len(nodes)],
                tuple(cutoffs),
                tuple(seen_until),
                UserShare(number, borders),
                settings.data.targets.watch_ratio_clip,
                cores[number],
            )
            kind = ray.remote(Shard).options(
                # It takes turns with tasks: one that held its cores would wait for theirs to end.
                num_cpus=0,
                memory=_RESERVED_BYTES,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True),
                max_restarts=_RESTARTS,
                # Until Ray knows that a node is lost, it calls the shard in vain a few times.
                max_task_retries=-1,
            )
            actors.append(kind.remote(inputs))
        # It takes turns with the shards, on whichever node.
        solve = ray.remote(solved_videos).options(num_cpus=0, scheduling_strategy="SPREAD")
        return cls(tuple(actors), solve)

    def facts(self) -> list[ShardFacts]:
        """Of each shard."""
        found: list[ShardFacts] = ray.get([actor.facts.remote() for actor in self.actors])
        return found

    def videos(self, iteration: "ray.ObjectRef[Iteration]", videos: int, size: int) -> Side:
        """The iteration's videos, given its users."""
        solved = np.empty((videos, size + 1), dtype=np.float32)
        under_way: deque[tuple[range, Any]] = deque()

        def collect(left: int) -> None:
            while len(under_way) > left:
                block, found = under_way.popleft()
                solved[block.start : block.stop] = ray.get(found)

        for start in range(0, videos, _BLOCK_VIDEOS):
            block = range(start, min(start + _BLOCK_VIDEOS, videos))
            sums = [actor.sums.remote(iteration, block) for actor in self.actors]
            under_way.append((block, self.solve.remote(size, *sums)))
            collect(left=_BLOCKS_AT_ONCE - 1)
        collect(left=0)
        return Side(solved[:, :size].copy(), solved[:, size].copy())

    def users(self, iteration: "ray.ObjectRef[Iteration]") -> tuple[Keys, Side]:
        """All users of the iteration's fit."""
        found = ray.get([actor.users.remote(iteration) for actor in self.actors])
        ids = np.concatenate([user_id for user_id, _ in found])
        factors, biases = (
            np.concatenate([getattr(side, name) for _, side in found]) for name in ("factors", "biases")
        )
        return Keys(ids, [len(ids)]), Side(factors, biases)


def _all_videos(facts: Sequence[ShardFacts], cutoffs: int) -> Keys:
    """The videos of all shards, in the order that one log of all plays would give them."""
    frames = (pl.DataFrame({columns.VIDEO_ID: one.video_id, "fit": one.first_fit}) for one in facts)
    first = (
        pl.concat(frames).group_by(columns.VIDEO_ID).agg(pl.col("fit").min()).sort("fit", columns.VIDEO_ID)
    )
    known = np.searchsorted(first["fit"].to_numpy(), np.arange(cutoffs), side="right")
    return Keys(first[columns.VIDEO_ID].to_numpy(), known.tolist())
