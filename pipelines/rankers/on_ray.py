"""Fits both rankers on a Ray cluster: LightGBM's data-parallel learning, each worker with a share of plays.

Ray Train starts a worker for each core and connects LightGBM's workers. The joined sources and the positions
of the join are in each node's object store once; a worker composes and bins the rows of its own share, so
that the wide matrix never exists. A row's number alone decides which worker has it: rounding depends on the
shares, so the same data must be distributed the same way to give the same trees. All workers bin by the same
sample, turn from part to part of the log as one machine does, each with its share of a part, and stop by the
same plays: all of them grow the same trees. How near those are to one machine's: docs/scale.md.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import ray
import ray.train
from ray.train.lightgbm import LightGBMTrainer, get_network_params

from nightreel.core.cluster import connected, cores
from nightreel.core.settings import ClusterSettings, Paths
from nightreel.core.settings.needs import RankerNeeds
from nightreel.core.storage import Folder
from pipelines.labels import Targets
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.binning import Binning
from pipelines.rankers.boosting import (
    common_parameters,
    fitted_rows,
    grow_rankers,
    number_of_parts,
    validation_rows,
)
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.slices import Slices
from pipelines.rankers.training_data import TrainingData

# Share of a core, so that beside each worker there is room for the process that supervises it.
_WORKER_CPUS = 0.75
_RETRIES = 2
_BEGUN, _ENDED = "begun", "ended"


@dataclass(frozen=True)
class _Job:
    """What every worker needs; its arrays are read in place, in the node's object store."""

    matrix: FeatureMatrix
    targets: Targets
    slices: Slices
    video_id: np.ndarray
    encoding: FeatureEncoding
    settings: RankerNeeds


def fit_rankers_on_ray(data: TrainingData, settings: RankerNeeds) -> HybridRanker:
    """Fit both rankers on data.slices.fit, each stopped early on data.slices.stop.

    Raises:
        NightreelError: if the cluster cannot be reached or a worker fails again and again.
    """
    return fit_with_seconds(data, settings)[0]


def fit_with_seconds(data: TrainingData, settings: RankerNeeds) -> tuple[HybridRanker, dict[str, float]]:
    """The same, and how long each stage takes, for `benchmarks/cluster.py`.

    Returns:
        The rankers, and the seconds by stage, those of the first worker: `start` until it begins, `bins` to
        find the bins and to bin the validation rows (`of_bins`: those of the processor), `trees` to grow all
        of them, `end` after that. Of `trees`, the processor's seconds are `computed` (LightGBM's own), `sent`
        (the system's, nearly all for the network) and `binned_ahead` (the next part's rows, by a second
        thread). The rest of `trees` is waiting: for other workers, if each has a core of its own.
    """
    begun = time.time()
    job = _Job(
        data.matrix,
        data.targets,
        data.slices,
        data.video_id,
        data.encoding,
        settings.changed({"threads": 1}),
    )
    with connected(settings.cluster), _scratch(settings.paths, settings.cluster) as scratch:
        trainer = LightGBMTrainer(
            _work,
            train_loop_config={"job": [ray.put(job)]},
            scaling_config=ray.train.ScalingConfig(
                num_workers=cores(), resources_per_worker={"CPU": _WORKER_CPUS}
            ),
            run_config=ray.train.RunConfig(
                name="rankers",
                storage_path=scratch.path("runs"),
                storage_filesystem=scratch.filesystem,
                failure_config=ray.train.FailureConfig(max_failures=_RETRIES),
            ),
        )
        result = trainer.fit()
        seconds: dict[str, float] = result.metrics
        with result.checkpoint.as_directory() as folder:
            ranker = HybridRanker.load(Path(folder), threads=settings.threads)
    stages = ("bins", "of_bins", "trees", "computed", "sent", "binned_ahead")
    of_worker = {name: seconds[name] for name in stages}
    return ranker, {"start": seconds[_BEGUN] - begun, **of_worker, "end": time.time() - seconds[_ENDED]}


@contextmanager
def _scratch(paths: Paths, settings: ClusterSettings) -> Iterator[Folder]:
    """A folder for this training on shared storage, removed at its end."""
    folder = Folder(settings.shared_dir or str(paths.shared)).below(f"train-{uuid4().hex[:12]}")
    try:
        yield folder
    finally:
        folder.remove_all()


def _work(config: dict[str, Any]) -> None:
    """What each worker does: bin its share of the rows, and grow the same trees as all others."""
    begun = _Instant.now()
    job: _Job = ray.get(config["job"][0])
    settings, slices = job.settings, job.slices
    fitted = fitted_rows(slices)
    parameters = common_parameters(settings, len(fitted))
    binning = Binning(job.matrix, fitted, job.video_id, job.encoding, parameters)
    stop = binning.part(validation_rows(slices))
    parts = number_of_parts(settings.ranker, len(fitted))
    context = ray.train.get_context()
    rows = dealt(fitted, parts, context.get_world_rank(), context.get_world_size())
    binned = _Instant.now()
    ranker = grow_rankers(
        binning.parts(rows, parts),
        parts=parts,
        stop=stop,
        targets=_writable(job.targets),
        fit=slices.fit,
        parameters=parameters | {"tree_learner": "data", "pre_partition": True},
        encoding=job.encoding,
        settings=settings.ranker,
        threads=settings.threads,
        network=get_network_params(),
    )
    seconds = _seconds(begun, binned, _Instant.now())
    with TemporaryDirectory(prefix="nightreel-rankers-") as folder:
        checkpoint = None
        if context.get_world_rank() == 0:
            ranker.save(Path(folder))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(seconds, checkpoint=checkpoint)


@dataclass(frozen=True)
class _Instant:
    """A worker's clocks in seconds; `own` and `system` are the processor's for the thread that asks."""

    at: float
    own: float
    system: float
    of_process: float

    @classmethod
    def now(cls) -> "_Instant":
        used = resource.getrusage(resource.RUSAGE_THREAD)
        return cls(time.time(), used.ru_utime, used.ru_stime, time.process_time())


def _seconds(begun: _Instant, binned: _Instant, ended: _Instant) -> dict[str, float]:
    """What `fit_with_seconds` returns of a worker, with its beginning and end."""
    computed, sent = ended.own - binned.own, ended.system - binned.system
    return {
        _BEGUN: begun.at,
        "bins": binned.at - begun.at,
        "of_bins": binned.of_process - begun.of_process,
        "trees": ended.at - binned.at,
        "computed": computed,
        "sent": sent,
        "binned_ahead": ended.of_process - binned.of_process - computed - sent,
        _ENDED: ended.at,
    }


def dealt(fitted: range, parts: int, worker: int, workers: int) -> np.ndarray:
    """The rows of one worker, ascending: an even share of each part, spread over all its days."""
    rows = np.asarray(fitted)
    found: np.ndarray = rows[np.arange(len(rows)) // parts % workers == worker]
    return found


def _writable(targets: Targets) -> Targets:
    """A writable copy: LightGBM takes no array that it may not write to."""
    return replace(targets, liked=targets.liked.copy(), amount=targets.amount.copy())
