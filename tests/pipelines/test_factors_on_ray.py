"""ALS by shards of users on a real Ray cluster: one node's factors but for rounding, whatever dies."""

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

from asof_fixtures import ray_cluster
from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.play_days import day_file
from nightreel.core.settings import Settings
from pipelines import collaborative
from pipelines.collaborative import Fit, Log, build_factors, late_plays
from pipelines.collaborative.biased_als import biased_fits
from pipelines.collaborative.late_plays import Arrivals
from pipelines.local_days import ALWAYS_KNOWN, INSTANT
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight, settings_for

LOG = make_log(6, users=40, videos=60, plays=2_400)
_DAY = timedelta(days=1)
_APART_MAX = 1e-5


@pytest.fixture(autouse=True)
def sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small as the logs are, they are fitted by shards."""
    monkeypatch.setattr(collaborative, "SHARDED_PLAYS_MIN", 0)
    # What arrives late waits for a later fit, though it is a tenth of the plays.
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 0.5)


def _late(log: SmallLog) -> pl.DataFrame:
    """Plays, a tenth of which arrive two days after their own."""
    waits = pl.int_range(pl.len()) % 10 == 3
    arrived = pl.col(columns.EVENT_TIMESTAMP).dt.truncate("1d").cast(INSTANT) + 2 * _DAY
    created = pl.when(waits).then(arrived).otherwise(pl.lit(ALWAYS_KNOWN, dtype=INSTANT))
    return log.interactions.with_columns(created.alias(columns.CREATED_TIMESTAMP))


def _sources(settings: Settings) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
    """The keys and instants of each source, and its factors."""
    for view, name in (
        (columns.USER_FACTORS, columns.USER_FACTOR),
        (columns.VIDEO_FACTORS, columns.VIDEO_FACTOR),
    ):
        rows = pl.read_parquet(settings.paths.feature_source(view))
        yield rows.drop(name), rows[name].list.to_array(settings.features.als.factors).to_numpy()


@pytest.mark.slow
def test_factors_of_shards_are_those_of_one_node_on_the_first_night_and_the_next(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = settings_for(tmp_path / "local")
    on_ray = settings_for(tmp_path / "ray", **{"cluster.engine": "ray"})
    plays = _late(LOG)
    for until, refits in ((6, 3), (9, 2)):
        log = LOG.with_interactions(
            plays.filter(pl.col(columns.EVENT_TIMESTAMP) < midnight(FIRST_DAY + until * _DAY))
        )
        for settings in (local, on_ray):
            log.write(settings)
        one_node = build_factors(local).summary
        with monkeypatch.context() as patch:
            # So that nothing but the shards can have fitted them.
            patch.setattr(collaborative, "biased_fits", None)
            by_shards = build_factors(on_ray).summary
        assert by_shards == one_node
        assert one_node["als_refits"] == refits
        for (keys, factors), (own_keys, own_factors) in zip(_sources(local), _sources(on_ray), strict=True):
            assert own_keys.equals(keys)
            assert np.abs(own_factors - factors).max() < _APART_MAX
        # What made the factors is no part of what they depend on.
        assert build_factors(on_ray).skipped
        assert build_factors(on_ray.changed({"cluster.engine": "local"})).skipped


def _both(settings: Settings) -> tuple[list[Fit], Iterator[Fit]]:
    """One node's fits of the log, and those of shards, which are still to be made."""
    from pipelines.collaborative.on_ray import fits_of_shards  # Ray takes 2 s to import

    LOG.write(settings)
    days = list(Arrivals.of(settings.paths.interactions).files.values())
    cutoffs = [midnight(FIRST_DAY + day * _DAY) for day in (3, 5, 7)]
    seen_until: list[datetime] = [ALWAYS_KNOWN] * len(cutoffs)
    log = Log.read(days, cutoffs, seen_until, settings.data.targets.watch_ratio_clip)
    expected = list(biased_fits(log, settings))
    return expected, fits_of_shards(days, cutoffs, seen_until, settings)


def _same(one: list[Fit], other: list[Fit]) -> bool:
    return len(one) == len(other) and all(
        a.cutoff == b.cutoff
        and np.array_equal(a.user_ids, b.user_ids)
        and np.array_equal(a.video_ids, b.video_ids)
        and np.abs(a.user_factors - b.user_factors).max() < _APART_MAX
        and np.abs(a.video_factors - b.video_factors).max() < _APART_MAX
        for a, b in zip(one, other, strict=True)
    )


def _shards_of(node: Any) -> list[psutil.Process]:
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [one for one in raylet.children(recursive=True) if "ray::Shard" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_a_shard_that_is_killed_between_fits_is_made_again(cluster: Any, tmp_path: Path) -> None:
    (node,) = cluster.worker_nodes
    before = _shards_of(node)  # those of an earlier test may be about to end
    expected, fits = _both(settings_for(tmp_path, **{"cluster.engine": "ray"}))
    first = next(fits)
    (shard,) = set(_shards_of(node)) - set(before)
    os.kill(shard.pid, signal.SIGKILL)
    assert _same([first, *fits], expected)


@pytest.mark.slow
def test_every_node_has_a_shard_even_if_its_core_is_taken(cluster: Any, tmp_path: Path) -> None:
    import ray

    @ray.remote(num_cpus=1)
    class Busy:
        def ready(self) -> None:
            pass

    with ray_cluster.one_more_node(cluster):
        nodes = cluster.list_all_nodes()
        before = {shard for node in nodes for shard in _shards_of(node)}
        busy = [Busy.remote() for _ in nodes]
        ray.get([one.ready.remote() for one in busy])
        expected, fits = _both(settings_for(tmp_path, **{"cluster.engine": "ray"}))
        first = next(fits)
        assert [len(set(_shards_of(node)) - before) for node in nodes] == [1, 1, 1]
        assert _same([first, *fits], expected)


@pytest.mark.slow
def test_a_lost_node_s_users_are_solved_by_another(cluster: Any, tmp_path: Path) -> None:
    with ray_cluster.one_more_node(cluster) as node:
        expected, fits = _both(settings_for(tmp_path, **{"cluster.engine": "ray"}))
        first = next(fits)
        assert _shards_of(node)
        cluster.remove_node(node, allow_graceful=False)
        assert _same([first, *fits], expected)


@pytest.mark.slow
def test_a_damaged_day_is_the_error_of_one_node(cluster: Any, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **{"cluster.engine": "ray"})
    LOG.write(settings)
    path = day_file(settings.paths.interactions, FIRST_DAY + _DAY)
    with atomic_write(path, checksum=True) as temporary:
        temporary.write_bytes(path.read_bytes())
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="its checksum differs"):
        build_factors(settings)
