"""Fits both rankers on a Ray cluster: LightGBM's data-parallel learning, each worker with a share of plays.

There is a worker for each core, an actor of Ray, and LightGBM connects them. The joined sources and the
positions of the join are in each node's object store once; a worker composes and bins the rows of its own
share, so that the wide matrix never exists. A row's number alone decides which worker has it: rounding
depends on the shares, so the same data must be distributed the same way to give the same trees. All workers
bin by the same sample, turn from part to part of the log as one machine does, each with its share of a part,
and stop by the mean loss of plays of which each judges a share: all of them grow the same trees. How near
those are to one machine's, and why the workers are not Ray Train's: docs/scale.md.
"""

import resource
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import lightgbm as lgb
import numpy as np
import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from nightreel.core.cluster import connected, cores_of_nodes
from nightreel.core.settings.needs import RankerNeeds
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

# How often all begin again after one was lost: without it, the others cannot go on.
_RETRIES = 2
_LOOK_AGAIN_S = 30
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
    with connected(settings.cluster):
        files, seconds = _fitted(ray.put(job))
    with TemporaryDirectory(prefix="nightreel-rankers-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        ranker = HybridRanker.load(Path(folder), threads=settings.threads)
    stages = ("bins", "of_bins", "trees", "computed", "sent", "binned_ahead")
    of_worker = {name: seconds[name] for name in stages}
    return ranker, {"start": seconds[_BEGUN] - begun, **of_worker, "end": time.time() - seconds[_ENDED]}


def _fitted(job: "ray.ObjectRef[_Job]") -> tuple[dict[str, bytes], dict[str, float]]:
    """What the first worker returns."""
    for _ in range(_RETRIES):
        try:
            return _fitted_once(job)
        except RayError:
            continue
    return _fitted_once(job)


def _fitted_once(job: "ray.ObjectRef[_Job]") -> tuple[dict[str, bytes], dict[str, float]]:
    with _workers() as workers:
        machines = ray.get([worker.machine.remote() for worker in workers])
        results = [
            worker.work.remote(job, number, machines, workers[0]) for number, worker in enumerate(workers)
        ]
        pending = results
        while pending:
            # The first error ends it, though other workers may wait for the one that is lost.
            done, pending = ray.wait(pending, fetch_local=False)
            ray.get(done)
        found: tuple[dict[str, bytes], dict[str, float]] = ray.get(results[0])
    return found


@contextmanager
def _workers() -> Iterator[Sequence[Any]]:
    """Actors, one for each core of the cluster, which get their cores together or wait."""
    group = _all_cores()
    try:
        while not group.wait(_LOOK_AGAIN_S):
            # A node that was counted may have been lost.
            remove_placement_group(group)
            group = _all_cores()
        workers = group.bundle_count
        yield [
            ray.remote(_Worker)
            .options(
                num_cpus=1,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=number
                ),
                # While the first one grows trees, all others may wait for its `mean_loss`.
                max_concurrency=workers if number == 0 else 1,
            )
            .remote(workers)
            for number in range(workers)
        ]
    finally:
        # Ends the actors, too.
        remove_placement_group(group)


def _all_cores() -> PlacementGroup:
    """Asks for the cores of all nodes, at least one."""
    return placement_group([{"CPU": 1}] * max(1, sum(cores_of_nodes().values())))


class _Losses:
    """Tells workers the mean loss of all early-stopping plays, so that all stop at the same tree.

    LightGBM itself only measures those of one worker.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = Lock()
        # Of the tree that is judged: each worker's mean loss and number of plays.
        self._told: dict[int, tuple[float, int]] = {}
        self._mean: Future[float] = Future()

    def mean(self, worker: int, loss: float, plays: int) -> float:
        """The mean loss of all plays, once each worker has told that of its own; until then, it waits."""
        with self._lock:
            self._told[worker] = loss, plays
            mean = self._mean
            if len(self._told) == self._workers:
                # In the order of the workers, as rounding depends on it.
                told = [self._told[each] for each in range(self._workers)]
                self._told, self._mean = {}, Future()
                mean.set_result(sum(loss * plays for loss, plays in told) / sum(plays for _, plays in told))
        return mean.result()


class _Worker:
    """One of LightGBM's workers: bins its share of the rows, and grows the same trees as all others."""

    def __init__(self, workers: int) -> None:
        self._losses = _Losses(workers)

    def machine(self) -> str:
        """Address and free port, as LightGBM takes them."""
        with socket.socket() as found:
            found.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{found.getsockname()[1]}"

    def mean_loss(self, worker: int, loss: float, plays: int) -> float:
        """The mean loss of the plays of all workers, if this is the first one, which all others ask."""
        return self._losses.mean(worker, loss, plays)

    def work(
        self, job: _Job, number: int, machines: Sequence[str], first: Any
    ) -> tuple[dict[str, bytes], dict[str, float]]:
        """Fit the rankers together with the other workers.

        Args:
            number: of this worker.
            machines: of each worker.
            first: the first worker.

        Returns:
            The files of the rankers by name, of the first worker alone, and seconds as `_seconds` gives them.
        """

        def loss_of_all(loss: float) -> float:
            told = number, loss, len(stop.rows)
            mean: float = self.mean_loss(*told) if number == 0 else ray.get(first.mean_loss.remote(*told))
            return mean

        begun = _Instant.now()
        settings, slices = job.settings, job.slices
        fitted = fitted_rows(slices)
        of_all = {"tree_learner": "data", "pre_partition": True, "num_machines": len(machines)}
        parameters = common_parameters(settings, len(fitted)) | of_all
        with _connected_to(machines, number):
            binning = Binning(job.matrix, fitted, job.video_id, job.encoding, parameters, keeps_features=True)
            stop = binning.part(stopped_by(validation_rows(slices), number, len(machines)))
            parts = number_of_parts(settings.ranker, len(fitted))
            rows = dealt(fitted, parts, number, len(machines))
            binned = _Instant.now()
            ranker = grow_rankers(
                binning.parts(rows, parts),
                parts=parts,
                stop=stop,
                targets=_writable(job.targets),
                fit=slices.fit,
                parameters=parameters,
                encoding=job.encoding,
                settings=settings.ranker,
                threads=settings.threads,
                loss_of_all=loss_of_all,
            )
        seconds = _seconds(begun, binned, _Instant.now())
        return (_files(ranker) if number == 0 else {}), seconds


@contextmanager
def _connected_to(machines: Sequence[str], number: int) -> Iterator[None]:
    """Let LightGBM connect this thread to those of the other workers.

    A model that connects them ends that when it is freed, but models are made anew for each part: so this one
    does nothing else.
    """
    model = lgb.Booster({"verbose": -1}, lgb.Dataset(np.zeros((1, 1)), np.zeros(1)))
    port = int(machines[number].rpartition(":")[2])
    model.set_network(",".join(machines), local_listen_port=port, num_machines=len(machines))
    try:
        yield
    finally:
        model.free_network()


def _files(ranker: HybridRanker) -> dict[str, bytes]:
    with TemporaryDirectory(prefix="nightreel-rankers-") as folder:
        ranker.save(Path(folder))
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


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


def stopped_by(rows: range, worker: int, workers: int) -> range:
    """The early-stopping plays of one worker: an even share, or all if not every worker would get one."""
    return rows[worker::workers] if len(rows) >= workers else rows


def _writable(targets: Targets) -> Targets:
    """A writable copy: LightGBM takes no array that it may not write to."""
    return replace(targets, liked=targets.liked.copy(), amount=targets.amount.copy())
