"""Killed with SIGKILL at any instant, publishing never shows a reader anything but one whole list.

The verdict is the database's: its rows are held against lists made anew, never the program's own word.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nightreel.core.settings import Settings
from scoring.database.connection import reading
from scoring.database.tables import (
    list_flip,
    list_repeat,
    popular_recommendation,
    recommendation,
    recommendation_run,
    related_recommendation,
)
from scoring.lists.candidates import Candidates
from tests.fixtures.fork_server import Forked, forks
from tests.fixtures.lists import make_blocks, make_shared
from tests.fixtures.publisher import SHARED_K, K, candidates, publish_seed

ROOT = Path(__file__).parents[2]


def _seed(inputs: str) -> int:
    return int(inputs.removeprefix("seed "))


class Expected:
    """The rows that a seed's lists must have, made when asked for."""

    def __init__(self, everyone: Candidates) -> None:
        self._everyone = everyone
        self._rows: dict[int, list[tuple[int, ...]]] = {}
        self._shared: dict[int, dict[str, list[tuple[object, ...]]]] = {}

    def rows(self, seed: int) -> list[tuple[int, ...]]:
        if seed not in self._rows:
            blocks = make_blocks(self._everyone, seed, k=K)
            columns = ((lists.user_id, lists.rank, lists.video_id) for lists in blocks)
            self._rows[seed] = [
                row for block in columns for row in zip(*(c.tolist() for c in block), strict=True)
            ]
        return self._rows[seed]

    def shared(self, seed: int) -> dict[str, list[tuple[object, ...]]]:
        """The same of the lists that are not a user's, by kind, in any order."""
        if seed not in self._shared:
            made = make_shared(self._everyone, seed, k=SHARED_K)
            self._shared[seed] = {one.kind: sorted(one.rows.rows()) for one in made}
        return self._shared[seed]


class Reader:
    """An app that reads all views again and again, each time in one transaction."""

    def __init__(self, settings: Settings, expected: Expected) -> None:
        self._settings = settings
        self._expected = expected
        self._last = 0
        self.reads = 0

    def read(self) -> None:
        """Fail unless the view is one whole run, and none older than seen before."""
        with reading(self._settings) as connection:
            query = "SELECT run_id, user_id, rank, video_id FROM latest_recommendation ORDER BY user_id, rank"
            rows = [tuple(row) for row in connection.exec_driver_sql(query)]
            shown = {row[0] for row in rows}
            assert len(shown) == 1, shown
            run = shown.pop()
            inputs = select(recommendation_run.c.inputs).where(recommendation_run.c.run_id == run)
            seed = _seed(connection.execute(inputs).scalar_one())
            shared = {
                kind: [
                    tuple(row)
                    for row in connection.exec_driver_sql(f"SELECT * FROM latest_{kind} ORDER BY {by}")
                ]
                for kind, by in (("related", "video_id, rank"), ("popular", "segment, value, rank"))
            }
        assert {kind: {row[0] for row in rows} for kind, rows in shared.items()} == {
            "related": {run},
            "popular": {run},
        }
        for kind, made in self._expected.shared(seed).items():
            assert sorted(row[1:] for row in shared[kind]) == made
        assert [row[1:] for row in rows] == self._expected.rows(seed)
        assert run >= self._last
        self._last = run
        self.reads += 1


@contextmanager
def _publisher(settings: Settings, first_seed: int) -> Iterator[Forked]:
    environment = dict(os.environ)
    if settings.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = settings.database.url.get_secret_value()
    publish = "from tests.fixtures.publisher import main; main()"
    process = forks.start(
        ["-c", publish, str(settings.home), str(first_seed)], env=environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"run {first_seed}\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _verdict(settings: Settings, expected: Expected) -> Counter[str]:
    """Read everything: published runs have all their rows, others none; returns how many ended how."""
    with reading(settings) as connection:
        runs = connection.execute(select(recommendation_run)).all()
        flips = set(connection.execute(select(list_flip.c.run_id)).scalars())
        key = (recommendation.c.run_id, recommendation.c.user_id, recommendation.c.rank)
        stored = connection.execute(select(*key, recommendation.c.video_id).order_by(*key)).all()
        noted = connection.execute(select(list_repeat.c.run_id, func.count()).group_by(list_repeat.c.run_id))
        repeats = dict(noted.tuples().all())
        related = connection.execute(select(related_recommendation.c.run_id).distinct()).scalars()
        popular = connection.execute(select(popular_recommendation.c.run_id).distinct()).scalars()
        with_shared = [{*related}, {*popular}]
    rows: dict[int, list[tuple[int, ...]]] = {}
    for run_id, *row in stored:
        rows.setdefault(run_id, []).append(tuple(row))
    published = {run.run_id: run.inputs for run in runs if run.status == "published"}
    assert {run.status for run in runs} <= {"published", "failed"}
    assert rows == {run_id: expected.rows(_seed(inputs)) for run_id, inputs in published.items()}
    assert with_shared == [published.keys()] * 2
    assert all(run.error for run in runs if run.status == "failed")
    # What lists have shown is noted by the transaction that shows them, of every user who had not seen it.
    had_seen = int(candidates().rewatch(slice(None)).sum())
    users = {run_id: len({row[0] for row in of_run}) for run_id, of_run in rows.items()}
    assert repeats == {run_id: n - had_seen for run_id, n in users.items()}
    # Since when a run was shown is noted with the flip, or not at all.
    assert published.keys() <= flips and not flips & {run.run_id for run in runs if run.status == "failed"}
    return Counter(run.status for run in runs)


def _running(settings: Settings) -> int:
    """Runs that have begun and not ended; after a kill, the one that it hit."""
    with reading(settings) as connection:
        runs = select(recommendation_run.c.run_id).where(recommendation_run.c.status == "running")
        return len(connection.execute(runs).all())


def _kill_again_and_again(settings: Settings, kills: int) -> None:
    everyone = candidates()
    expected = Expected(everyone)
    reader = Reader(settings, expected)
    started = time.monotonic()
    publish_seed(settings, everyone, 0)
    a_run_takes_s = time.monotonic() - started
    killed_in_a_run = 0
    instants = random.Random(5)
    for kill in range(1, kills + 1):
        with _publisher(settings, kill * 1_000) as process:
            # Some kills come in the first run of the process, some in a later one.
            end = time.monotonic() + instants.uniform(0, 2) * a_run_takes_s
            reader.read()
            while time.monotonic() < end:
                reader.read()
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        reader.read()
        killed_in_a_run += _running(settings)
    publish_seed(settings, everyone, 1)
    reader.read()
    assert list(settings.paths.sqlite.parent.glob(".*staging*")) == []
    ended = _verdict(settings, expected)
    assert ended["published"] == 2, ended
    assert killed_in_a_run >= kills / 4
    assert reader.reads > 3 * kills


def test_killed_at_random_instants_readers_see_whole_lists_only(settings: Settings) -> None:
    _kill_again_and_again(settings, kills=3)


@pytest.mark.slow
def test_killed_fifty_times_readers_see_whole_lists_only(settings: Settings) -> None:
    _kill_again_and_again(settings, kills=50)
