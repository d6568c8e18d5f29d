"""Candidate sources learn from plays strictly before their cutoff, and from nothing else."""

import dataclasses
import os
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, issparse

from nightreel.core import columns
from nightreel.core.settings import RETRIEVAL_SOURCES
from pipelines.retrieval import biased_als
from pipelines.retrieval.histories import Histories, PlaysByUser
from pipelines.retrieval.item_knn import SparseNeighbours
from pipelines.retrieval.past import Past, ids_and_codes
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sequence.stop_day import StopDay
from pipelines.retrieval.sources import Catalogue
from tests.fixtures.short_training import limit_training
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight, settings_for

LOG = make_log(5, users=40, videos=60, plays=3_000).interactions
CUTOFF = midnight(FIRST_DAY + timedelta(days=6))
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    # What is promised of a transformer here does not depend on how long it trains.
    limit_training(monkeypatch, steps=4, epochs=4, warm_up=1, every=2, patience=4)
    monkeypatch.setattr(StopDay, "popularity", lambda self, plays, videos: (-1.0, None))
    return settings_for(tmp_path)


def _catalogue(past: Past) -> Catalogue:
    videos = len(past.video_id)
    return Catalogue(
        past.video_id,
        np.arange(videos),
        np.arange(videos) % 5,
        np.arange(videos) % 3,
        np.arange(videos)[::-1].copy(),
        np.zeros(videos, dtype=np.int64),
    )


def _scores(name: str, plays: pl.DataFrame, settings) -> np.ndarray:
    past = Past.of(plays, CUTOFF, settings.data)
    index = PlaysByUser(past)
    instants = np.full(len(past.user_id), past.cutoff_us)
    histories = index.histories(past.user_id, instants, np.arange(len(past.video_id)), len(past.video_id))
    source = SOURCES[name]
    return source.over(source.fit(past, settings), _catalogue(past)).scores(histories)


def test_the_settings_name_exactly_the_registered_sources():
    assert set(RETRIEVAL_SOURCES) == set(SOURCES)


@pytest.mark.parametrize("name", RETRIEVAL_SOURCES)
def test_a_source_is_the_same_whatever_happens_from_the_cutoff_on(name, settings):
    before = LOG.filter(pl.col(columns.EVENT_TIMESTAMP) < CUTOFF)
    after = LOG.filter(pl.col(columns.EVENT_TIMESTAMP) >= CUTOFF)
    changed = after.with_columns(
        pl.col(columns.VIDEO_ID).reverse(),
        (5 - pl.col(columns.WATCH_RATIO)).alias(columns.WATCH_RATIO).cast(pl.Float32),
    )
    assert after.height
    scores = _scores(name, LOG, settings)
    assert np.array_equal(scores, _scores(name, before, settings))
    assert np.array_equal(scores, _scores(name, pl.concat([before, changed]), settings))


@pytest.mark.parametrize("name", RETRIEVAL_SOURCES)
def test_where_nothing_was_liked_a_source_has_finite_scores(name, settings):
    scores = _scores(name, LOG, settings.changed({"data.targets.like_threshold": 500.0}))
    assert scores.shape[0] == LOG.filter(pl.col(columns.EVENT_TIMESTAMP) < CUTOFF)[columns.USER_ID].n_unique()
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", sorted(set(RETRIEVAL_SOURCES) - {"fresh"}))
def test_a_play_just_before_the_cutoff_counts(name, settings):
    before = LOG.filter(pl.col(columns.EVENT_TIMESTAMP) < CUTOFF)
    liked = before.tail(30).with_columns(
        pl.lit(CUTOFF - MICROSECOND).dt.cast_time_unit("us").alias(columns.EVENT_TIMESTAMP),
        pl.lit(4.0, dtype=pl.Float32).alias(columns.WATCH_RATIO),
        pl.col(columns.VIDEO_ID).reverse(),
    )
    more = pl.concat([before, liked.cast(before.schema)])
    assert not np.array_equal(_scores(name, before, settings), _scores(name, more, settings))


@pytest.mark.parametrize("name", RETRIEVAL_SOURCES)
def test_a_users_scores_depend_on_no_other_user_that_is_asked_for(name, settings):
    past = Past.of(LOG, CUTOFF, settings.data)
    index, videos = PlaysByUser(past), np.arange(len(past.video_id))
    source = SOURCES[name]
    fitted = source.over(source.fit(past, settings), _catalogue(past))

    def scores(users: np.ndarray) -> np.ndarray:
        instants = np.full(len(users), past.cutoff_us)
        return fitted.scores(index.histories(users, instants, videos, len(videos)))

    every = scores(past.user_id)
    assert np.array_equal(every[7:8], scores(past.user_id[7:8]))
    assert np.array_equal(every[3:20], scores(past.user_id[3:20]))


def test_of_videos_that_are_equally_fresh_the_better_received_is_first(settings):
    """Uploads are days: many videos have the same."""
    past = Past.of(LOG, CUTOFF, settings.data)
    videos = len(past.video_id)
    uploaded, received = np.arange(videos) // 10, np.random.default_rng(1).permutation(videos)
    catalogue = dataclasses.replace(_catalogue(past), uploaded_us=uploaded, received=received)
    source = SOURCES["fresh"]
    of_users = PlaysByUser(past).histories(
        past.user_id[:1], np.array([past.cutoff_us]), np.arange(videos), videos
    )
    (scores,) = source.over(source.fit(past, settings), catalogue).scores(of_users)
    assert np.argsort(-scores).tolist() == sorted(range(videos), key=lambda v: (-uploaded[v], -received[v]))


@pytest.mark.parametrize("users", [30, 90], ids=["fewer users than videos", "more"])
def test_ease_is_its_closed_form(settings, users):
    log = make_log(5, users=users, videos=60, plays=3_000).interactions
    past = Past.of(log, CUTOFF, settings.data)
    source = SOURCES["ease"]
    pairs = past.pairs(past.liked).toarray().astype(np.float64)
    inverse = np.linalg.inv(pairs.T @ pairs + source.regularization * np.eye(pairs.shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    learnt = source.fit(past, settings)
    weights = np.zeros_like(expected)
    weights[np.ix_(learnt["videos"], learnt["videos"])] = learnt["weights"]
    used = np.isin(np.arange(len(weights)), learnt["videos"])
    if used.all():
        assert np.allclose(weights, expected, atol=1e-5)
    else:
        assert (pairs.sum(0)[~used] < 2).all()


def test_biased_als_tells_what_was_disliked_from_what_was_not_shown(settings, monkeypatch):
    """Half of the users watch even videos long and odd ones hardly; nobody was shown all of either."""
    user, video = (axis.ravel() for axis in np.meshgrid(np.arange(60), np.arange(40), indexing="ij"))
    is_liked = (user + video) % 2 == 0
    shown = np.random.default_rng(4).random(len(user)) < 0.5
    played = pl.DataFrame(
        {
            columns.USER_ID: user[shown],
            columns.VIDEO_ID: video[shown],
            columns.EVENT_TIMESTAMP: [CUTOFF - timedelta(days=1)] * int(shown.sum()),
            columns.PLAY_DURATION: np.zeros(int(shown.sum())),
            columns.VIDEO_DURATION: np.full(int(shown.sum()), 9_000),
            columns.WATCH_RATIO: np.where(is_liked, 2.0, 0.1)[shown],
        }
    ).cast(LOG.schema)
    monkeypatch.setattr(biased_als, "REGULARIZATION_PLAYS", 1.0)
    few = settings.changed({"features.als.factors": 8})
    scores = _scores("biased_als", played, few)[user, video]
    own = [scores[~shown & (user == one) & liked] for one in range(60) for liked in (is_liked, ~is_liked)]
    assert all(yes.min() > no.max() for yes, no in zip(own[::2], own[1::2], strict=True))


_EASE_OF_139_VIDEOS = """
import numpy as np
from scipy.sparse import csr_matrix
from pipelines.retrieval.ease import Ease
for users in (300, 137):
    plays = csr_matrix(np.random.default_rng(0).random((users, 139)) < 0.2, dtype=np.float32)
    print(np.isfinite(Ease(liked_only=True, regularization=100.0)._weights(plays)).all())
"""


def test_ease_is_fitted_on_a_processor_without_avx():
    """OpenBLAS's float32 kernel for such processors ends the process, so this one is a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _EASE_OF_139_VIDEOS],
        env={**os.environ, "OPENBLAS_CORETYPE": "Prescott"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


def test_what_is_liked_next_is_pointed_to(settings):
    """Users 1 and 2 like 10, then 11; 12 comes before 10 and is not pointed to by it."""
    plays = pl.DataFrame(
        {
            columns.USER_ID: [1, 1, 1, 2, 2, 2],
            columns.VIDEO_ID: [12, 10, 11, 12, 10, 11],
            columns.EVENT_TIMESTAMP: [CUTOFF - timedelta(hours=hours) for hours in (9, 8, 7, 6, 5, 4)],
            columns.WATCH_RATIO: [2.0] * 6,
            columns.VIDEO_DURATION: [9_000] * 6,
        },
        schema_overrides={columns.EVENT_TIMESTAMP: pl.Datetime("us", "UTC")},
    )
    past = Past.of(plays, CUTOFF, settings.data)
    learnt = SOURCES["next_played"].fit(past, settings)
    codes = zip(learnt["row"], learnt["column"], strict=True)
    pairs = {(int(past.video_id[a]), int(past.video_id[b])) for a, b in codes}
    assert pairs == {(12, 10), (12, 11), (10, 11)}


@limits(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50), hours=st.integers(0, 9 * 24))
def test_a_history_is_what_came_strictly_before_the_instant(seed, hours):
    """Against a plain filter of the table."""
    from pathlib import Path

    plays = make_log(seed, users=6, videos=12, plays=80).interactions
    end = plays[columns.EVENT_TIMESTAMP][-1] + timedelta(days=1)
    past = Past.of(plays, end, settings_for(Path("unused")).data)
    instant = midnight(FIRST_DAY) + timedelta(hours=hours)
    users = np.append(past.user_id, 10**12)
    width = len(past.video_id)
    instants = np.full(len(users), round(instant.timestamp() * 1_000_000))
    found = PlaysByUser(past).histories(users, instants, np.arange(width), width)
    for row, user in enumerate(users.tolist()):
        own = plays.filter((pl.col(columns.USER_ID) == user) & (pl.col(columns.EVENT_TIMESTAMP) < instant))
        assert found.plays[row] == own.height
        played = past.video_id[np.flatnonzero(found.played[row].toarray()[0])]
        assert played.tolist() == own[columns.VIDEO_ID].unique().sort().to_list()
        liked = own.filter(pl.col(columns.WATCH_RATIO) > 1)[columns.VIDEO_ID].unique().sort().to_list()
        assert past.video_id[np.flatnonzero(found.liked[row].toarray()[0])].tolist() == liked
        assert np.isnan(found.since_days[row]) == own.is_empty()


def test_an_index_of_some_users_has_their_histories_and_refuses_to_say_that_others_had_none(settings):
    plays = make_log(3, users=6, videos=12, plays=80).interactions
    past = Past.of(plays, plays[columns.EVENT_TIMESTAMP][-1] + timedelta(days=1), settings.data)
    width = len(past.video_id)
    some = past.user_id[1::2]
    instants = np.full(len(some), round(plays[columns.EVENT_TIMESTAMP][60].timestamp() * 1_000_000))
    one, whole = (
        index.histories(some, instants, np.arange(width), width)
        for index in (PlaysByUser(past, some), PlaysByUser(past))
    )
    assert whole.plays.all()
    for name, expected in vars(whole).items():
        found = getattr(one, name)
        both = (found.toarray(), expected.toarray()) if issparse(expected) else (found, expected)
        np.testing.assert_array_equal(*both)
    with pytest.raises(AssertionError, match="left out"):
        PlaysByUser(past, some).histories(
            past.user_id, instants[[0] * len(past.user_id)], np.arange(width), width
        )


def test_the_plays_since_an_instant_keep_their_codes(settings):
    plays = make_log(3, users=6, videos=12, plays=80).interactions
    past = Past.of(plays, plays[columns.EVENT_TIMESTAMP][-1] + timedelta(days=1), settings.data)
    late = past.since(int(past.at_us[60]))
    assert int(late.at_us[0]) == past.at_us[60] and len(late) < len(past)
    for name in ("user", "video", "at_us", "liked", "amount"):
        np.testing.assert_array_equal(getattr(late, name), getattr(past, name)[-len(late) :])
        assert not np.shares_memory(getattr(late, name), getattr(past, name))
    np.testing.assert_array_equal(late.user_id, past.user_id)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 9), max_size=40), st.booleans())
def test_codes_are_those_of_numpys_unique(ids: list[int], close: bool) -> None:
    values = np.array(ids, dtype=np.int64)
    values = values % 50 + 2**62 if close else values
    found, codes = ids_and_codes(values)
    expected, inverse = np.unique(values, return_inverse=True)
    assert found.dtype == np.int64 and codes.dtype == np.int32
    assert found.tolist() == expected.tolist() and codes.tolist() == inverse.tolist()


def test_neighbours_add_up_as_a_product_of_sparse_matrices() -> None:
    """To the last bit: past nights' rankers learn from these scores, and lists tie by them."""
    random = np.random.default_rng(3)

    def some(rows: int, share: float) -> csr_matrix:
        dense = random.random((rows, 40), dtype=np.float32) * (random.random((rows, 40)) < share)
        return csr_matrix(dense)

    liked, neighbours = some(30, 0.4), some(40, 0.3)
    histories = SimpleNamespace(liked=liked, recent_liked=liked.multiply(np.float32(0.7)).tocsr())
    for fading, rows in ((False, histories.liked), (True, histories.recent_liked)):
        found = SparseNeighbours(neighbours, fading).scores(cast("Histories", histories))
        np.testing.assert_array_equal(found, (rows @ neighbours).toarray())
