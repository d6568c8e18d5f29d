"""The transformer goes on from an earlier night, is used only where it helps, and is absent without JAX."""

import dataclasses
import sys
from datetime import timedelta

import numpy as np
import pytest

from pipelines.retrieval.fits import fitted_arrays, source_names
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sequence import night
from pipelines.retrieval.sequence.earlier import EarlierNight
from pipelines.retrieval.sequence.items import item_facts
from pipelines.retrieval.sequence.stop_day import StopDay
from pipelines.retrieval.sequence.training import Budget
from pipelines.retrieval.sources import Catalogue
from tests.fixtures.small_log import FIRST_DAY, midnight, settings_for

VIDEOS, USERS, PLAYS = 12, 300, 30
CUTOFF = midnight(FIRST_DAY + timedelta(days=20))
AS_IT_COMES = 0.1


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path, **{"lists.exclude_seen": False})


def _log() -> Past:
    """A log whose next play follows from the last two, but for one in ten."""
    random = np.random.default_rng(1)
    # After an even video another one follows than after an odd one.
    follower = random.permuted(np.tile(np.arange(VIDEOS), (2, 1)), axis=1)[np.arange(VIDEOS) % 2]
    video = random.integers(0, VIDEOS, (USERS, PLAYS))
    for play in range(2, PLAYS):
        follows = follower[video[:, play - 2], video[:, play - 1]]
        video[:, play] = np.where(random.random(USERS) < AS_IT_COMES, video[:, play], follows)
    at_us = round(CUTOFF.timestamp() * 1e6) - np.arange(PLAYS, 0, -1) * 8 * 3_600_000_000
    return Past(
        CUTOFF,
        np.arange(USERS),
        np.arange(VIDEOS),
        np.tile(np.arange(USERS, dtype=np.int32), PLAYS),
        video.T.ravel().astype(np.int32),
        np.repeat(at_us, USERS),
        np.ones(USERS * PLAYS, dtype=bool),
        np.full(USERS * PLAYS, 2.0, dtype=np.float32),
    )


def _catalogue(past: Past) -> Catalogue:
    none = np.zeros(len(past.video_id), dtype=np.int64)
    return Catalogue(past.video_id, np.arange(len(past.video_id)), none, none, none, none)


def _scores(name: str, past: Past, arrays) -> np.ndarray:
    videos = len(past.video_id)
    instants = np.full(len(past.user_id), past.cutoff_us)
    histories = PlaysByUser(past).histories(past.user_id, instants, np.arange(videos), videos)
    return SOURCES[name].over(arrays, _catalogue(past)).scores(histories)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(night, "FULL", Budget(steps=2, epochs=2, every=1, patience=2))
    monkeypatch.setattr(night, "WARM", Budget(steps=2, epochs=2, every=1, patience=2))


@pytest.fixture
def of_use(monkeypatch):
    """So short a training is judged to be of use whatever it has learnt."""
    monkeypatch.setattr(StopDay, "popularity", lambda self, plays, videos: (-1.0, None))


def _before(past: Past, days: int) -> Past:
    cutoff = CUTOFF - timedelta(days=days)
    rows = slice(0, int(np.searchsorted(past.at_us, round(cutoff.timestamp() * 1e6))))
    parts = {name: getattr(past, name)[rows] for name in ("user", "video", "at_us", "liked", "amount")}
    return dataclasses.replace(past, cutoff=cutoff, _chosen={}, **parts)


def test_a_night_goes_on_from_the_newest_earlier_one_that_knew_the_same_plays(settings, short, of_use):
    past = _log()
    for days in (4, 2):
        fitted_arrays(_before(past, days), settings, ("sequence",))
    found = EarlierNight.newest(past, settings)
    assert found is not None and found.cutoff == CUTOFF - timedelta(days=2)
    assert EarlierNight.newest(_before(past, 4), settings) is None
    begun = found.continued(found.params, item_facts(past.video_id, CUTOFF, settings), np.zeros(VIDEOS))
    assert np.array_equal(begun["video"], found.params["video"])


def test_a_night_never_goes_on_from_one_that_knew_a_play_that_is_not_known_now(settings, short, of_use):
    """As in a replay of a night from which a play arrived later, or once a user was forgotten."""
    past = _log()
    fitted_arrays(_before(past, 2), settings, ("sequence",))
    kept = np.arange(len(past)) != 5
    parts = {name: getattr(past, name)[kept] for name in ("user", "video", "at_us", "liked", "amount")}
    assert EarlierNight.newest(dataclasses.replace(past, _chosen={}, **parts), settings) is None


def test_a_night_that_lists_no_better_than_popularity_is_not_used(settings, short, capfd):
    """Everyone likes the same videos, so nothing is better than that."""
    past = _log()
    same = dataclasses.replace(
        past, video=(past.video * 0 + np.arange(len(past)) // USERS % 3).astype(np.int32)
    )
    arrays = SOURCES["sequence"].fit(same, settings)
    assert not arrays["used"]
    assert not _scores("sequence", same, arrays).any()
    assert "not used tonight" in "".join(capfd.readouterr())


def test_without_jax_the_source_is_absent_and_a_line_says_how_to_have_it(settings, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "jax", None)
    asked = settings.changed({"retrieval.sources": "als,sequence"})
    assert source_names(asked.retrieval) == ("als",)
    assert "pip install 'nightreel[sequence]'" in "".join(capfd.readouterr())
