"""The transformer continues from an earlier night, is used only where it helps, and is absent without JAX."""

import dataclasses
import sys
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from nightreel.core import columns
from nightreel.core.instants import DAY_US
from pipelines.retrieval.fits import fitted_arrays, source_names
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sequence.batches import Batches
from pipelines.retrieval.sequence.earlier import EarlierNight
from pipelines.retrieval.sequence.items import ItemFacts, item_facts
from pipelines.retrieval.sequence.model import LENGTH, SIZE, encode, video_vectors
from pipelines.retrieval.sequence.popularity import Popularity
from pipelines.retrieval.sequence.start import initial
from pipelines.retrieval.sequence.stop_day import StopDay
from pipelines.retrieval.sequence.timelines import GAPS, HOURS, OUTCOMES, Timelines
from pipelines.retrieval.sources import Catalogue
from tests.fixtures.short_training import limit_training
from tests.fixtures.small_log import FIRST_DAY, midnight, settings_for

VIDEOS, USERS, PLAYS = 12, 300, 30
CUTOFF = midnight(FIRST_DAY + timedelta(days=20))
AS_IT_COMES = 0.1


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path, **{"lists.exclude.seen": False})


def _past(video: np.ndarray) -> Past:
    """Likes of one video by each user every eight hours: [users, plays]."""
    users, plays = video.shape
    at_us = round(CUTOFF.timestamp() * 1e6) - np.arange(plays, 0, -1) * 8 * 3_600_000_000
    ids, codes = np.unique(video.T, return_inverse=True)
    return Past(
        CUTOFF,
        np.arange(users),
        ids,
        np.tile(np.arange(users, dtype=np.int32), plays),
        codes.ravel().astype(np.int32),
        np.repeat(at_us, users),
        np.ones(video.size, dtype=bool),
        np.full(video.size, 2.0, dtype=np.float32),
    )


def _played(videos: int = VIDEOS, plays: int = PLAYS) -> tuple[np.ndarray, np.ndarray]:
    """Plays that follow from the two before, but for one in ten; and what follows each user's last two."""
    random = np.random.default_rng(1)
    # [a, b] is played after a and then b; every video as often as any other.
    follower = random.permuted(np.tile(np.arange(videos), (videos, 1)), axis=1)
    video = random.integers(0, videos, (USERS, plays))
    for play in range(2, plays):
        follows = follower[video[:, play - 2], video[:, play - 1]]
        video[:, play] = np.where(random.random(USERS) < AS_IT_COMES, video[:, play], follows)
    return video, follower[video[:, -2], video[:, -1]]


def _log() -> Past:
    return _past(_played()[0])


def _scores(name: str, past: Past, arrays, *, users: int = 0, cold: int = 0) -> np.ndarray:
    """Of all users and videos of the log, then of some users and videos without a play."""
    videos = len(past.video_id) + cold
    user_id = np.arange(len(past.user_id) + users)
    none = np.zeros(videos, dtype=np.int64)
    catalogue = Catalogue(np.arange(videos), np.arange(videos), none, none, none, none)
    instants = np.full(len(user_id), past.cutoff_us)
    histories = PlaysByUser(past).histories(user_id, instants, np.arange(len(past.video_id)), videos)
    return SOURCES[name].over(arrays, catalogue).scores(histories)


@pytest.fixture
def untrained(monkeypatch):
    """No step is taken, so that JAX has nothing to compile, which takes it seconds."""
    for name in ("FULL", "WARM"):
        limit_training(monkeypatch, name, steps=0, epochs=0, warm_up=1, every=1, patience=1)


@pytest.fixture
def short(monkeypatch):
    limit_training(monkeypatch, steps=2, epochs=2, warm_up=1, every=1, patience=2)


@pytest.fixture
def of_use(monkeypatch):
    """So short a training is judged to be of use whatever it has learnt."""
    monkeypatch.setattr(StopDay, "popularity", lambda self, plays, videos: (-1.0, None))


def _before(past: Past, days: int) -> Past:
    cutoff = CUTOFF - timedelta(days=days)
    rows = slice(0, int(np.searchsorted(past.at_us, round(cutoff.timestamp() * 1e6))))
    parts = {name: getattr(past, name)[rows] for name in ("user", "video", "at_us", "liked", "amount")}
    return dataclasses.replace(past, cutoff=cutoff, _chosen={}, **parts)


def test_a_night_goes_on_from_the_newest_earlier_one_that_knew_the_same_plays(settings, untrained, of_use):
    past = _log()
    for days in (4, 2):
        fitted_arrays(_before(past, days), settings, ("sequence",))
    found = EarlierNight.newest(past, settings)
    assert found is not None and found.cutoff == CUTOFF - timedelta(days=2)
    assert EarlierNight.newest(_before(past, 4), settings) is None
    begun = found.continued(found.params, item_facts(past.video_id, CUTOFF, settings))
    assert np.array_equal(begun["video"], found.params["video"])


def test_a_new_video_begins_where_its_likes_put_it_among_those_of_which_something_was_learnt():
    """The night before knew every other video, in another basis than tonight's likes are in."""
    videos, random = 600, np.random.default_rng(1)
    factors = random.standard_normal((videos, SIZE)).astype(np.float32)
    basis = np.linalg.qr(random.standard_normal((SIZE, SIZE)))[0].astype(np.float32)
    learnt, known = factors @ basis, np.arange(0, videos, 2)

    def params(video: np.ndarray) -> dict[str, np.ndarray]:
        nothing = np.zeros((1, SIZE), dtype=np.float32)
        return {"video": video, "bias": video[:, 0], "group": nothing, "text": nothing}

    facts = _facts(videos)
    earlier = EarlierNight(CUTOFF, params(learnt[known]), known, facts.group_key)
    begun = earlier.continued(params(factors), facts)["video"]
    assert np.array_equal(begun[known], learnt[known])
    np.testing.assert_allclose(begun[1::2], learnt[1::2], atol=0.1)


def test_a_night_begins_anew_where_what_the_last_one_had_learnt_is_worse(
    settings, untrained, of_use, monkeypatch, capfd
):
    """As on a log whose users or videos have changed: here taste is turned round."""
    half = VIDEOS // 2
    video = np.random.default_rng(1).integers(0, half, (USERS, PLAYS))
    video[: USERS // 2] += half
    past = _past(video)
    fitted_arrays(_before(past, 2), settings, ("sequence",))
    continued = EarlierNight.continued

    def turned(self, *rest):
        found = continued(self, *rest)
        return {**found, "taste_sure": -found["taste_sure"]}

    monkeypatch.setattr(EarlierNight, "continued", turned)
    assert SOURCES["sequence"].fit(past, settings)["curve"][0, 2] > 0
    assert "scratch" in "".join(capfd.readouterr()).splitlines()[-1]


@pytest.mark.slow
def test_the_night_after_learns_from_the_day_that_judged_the_night_before(settings, of_use, monkeypatch):
    """That day is all of what is new that it may learn from: the day since then judges it."""
    from pipelines.retrieval.sequence import night

    past = _log()
    for name in ("FULL", "WARM"):
        limit_training(
            monkeypatch, name, steps=9 * (name == "WARM"), epochs=1, warm_up=1, every=1, patience=9
        )
    monkeypatch.setattr(night, "ndcg_of", lambda *_: 0.0)
    fitted_arrays(_before(past, 1), settings, ("sequence",))
    assert SOURCES["sequence"].fit(past, settings)["curve"][-1, 0] > 1


def test_a_night_never_goes_on_from_one_that_knew_a_play_that_is_not_known_now(settings, untrained, of_use):
    """As in a replay of a night from which a play arrived later, or once a user was forgotten."""
    past = _log()
    fitted_arrays(_before(past, 2), settings, ("sequence",))
    kept = np.arange(len(past)) != 5
    parts = {name: getattr(past, name)[kept] for name in ("user", "video", "at_us", "liked", "amount")}
    assert EarlierNight.newest(dataclasses.replace(past, _chosen={}, **parts), settings) is None


def test_a_fit_is_used_again_only_where_the_same_videos_may_be_listed(settings, untrained):
    """The day that stops its training is judged by them."""
    past = _log()
    fitted_arrays(past, settings, ("sequence",))
    new_only = settings.changed({"lists.exclude.seen": True})
    found = fitted_arrays(past, new_only, ("sequence",))["sequence"]
    assert found["popularity"] == SOURCES["sequence"].fit(past, new_only)["popularity"]


def test_training_that_ends_between_two_looks_ends_with_a_look(settings, monkeypatch):
    """As of a small log, whose passes are fewer steps than that: else nothing would be kept of them."""
    limit_training(monkeypatch, steps=3, epochs=3, warm_up=1, every=2, patience=2)
    assert SOURCES["sequence"].fit(_log(), settings)["curve"][:, 0].tolist() == [0, 2, 3]


def test_a_night_that_lists_no_better_than_popularity_is_not_used(settings, untrained, capfd):
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


@pytest.mark.slow
def test_it_finds_what_follows_the_last_two_plays_and_item_knn_does_not(settings, monkeypatch):
    """Of 400 pairs of last plays each is followed by another video; nine in ten of them are found."""
    limit_training(monkeypatch, steps=1_200, epochs=200, warm_up=50, every=100, patience=6)
    video, follows = _played(videos=20, plays=LENGTH)
    past = _past(video)

    def found(name: str) -> float:
        arrays = SOURCES[name].fit(past, settings)
        return float((_scores(name, past, arrays).argmax(axis=1) == follows).mean())

    assert found("sequence") >= 0.9
    assert found("item_knn") < 0.5


def test_no_play_after_a_users_border_is_learnt_from_and_none_foretells_the_past():
    """Each play is of a video of its own, so that a play is known by it."""
    users, plays = 9, 150
    past = _past(np.arange(users * plays).reshape(users, plays))
    timelines = Timelines.of(past, past.video_id)
    borders = timelines.starts[:-1] + np.arange(10, 10 + 16 * users, 16)
    known = Popularity.of(timelines, borders, past.cutoff_us, None, len(past.video_id))
    batches = Batches(timelines, borders, known, 1, None)
    learnt_from = 0
    for batch in [batch for _ in range(3) for batch in batches.epoch()]:
        used = batch.weight > 0
        seen, target = batch.plays[0].ravel()[batch.at[used]], batch.target[used]
        assert (seen // plays == target // plays).all()
        assert (seen < target).all()
        assert (target < borders[target // plays]).all()
        assert not (
            set(batch.compared) - set(np.flatnonzero(np.arange(users * plays) < borders.repeat(plays)))
        )
        learnt_from += used.sum()
    assert learnt_from


def test_popularity_counts_likes_strictly_before_the_day_of_a_play_and_before_each_users_border():
    """Everyone likes a video of each eight hours; the last of user 0, after the border, is another one."""
    video = np.tile(np.arange(PLAYS), (USERS, 1))
    video[0, -1] = PLAYS
    past = _past(video)
    timelines = Timelines.of(past, past.video_id)
    borders = timelines.starts[1:].copy()
    borders[0] -= 1
    known = Popularity.of(timelines, borders, past.cutoff_us, None, len(past.video_id))
    for instant_us in past.at_us[::USERS].tolist():
        counted = np.expm1(known.log_liked[known.at(np.array([instant_us]))[0]])
        midnight_us = past.cutoff_us - -(-(past.cutoff_us - instant_us) // DAY_US) * DAY_US
        before = past.at_us < midnight_us
        assert counted.round().tolist() == np.bincount(past.video[before], minlength=PLAYS + 1).tolist()
    assert known.log_liked[-1, PLAYS] == 0


def test_a_state_knows_no_later_play():
    random = np.random.default_rng(1)
    liked = csr_matrix((random.random((30, VIDEOS)) < 0.4).astype(np.float32))
    params = initial(_facts(VIDEOS), liked, 1)
    vectors = video_vectors(params, np.zeros((VIDEOS, 1), dtype=np.int32), np.zeros((VIDEOS, 1)))

    def states_of(tokens: np.ndarray) -> np.ndarray:
        return encode(np, params, vectors[tokens[0]], tokens[1:], wait=wait)

    plays = np.stack([random.integers(0, size, (2, 10)) for size in (VIDEOS, OUTCOMES, GAPS, HOURS)])
    wait = np.zeros((2, 10), dtype=np.int32)
    later = plays.copy()
    later[:, :, 6:] = plays[:, ::-1, 6:]
    states, others = states_of(plays), states_of(later)
    assert np.array_equal(states[:, :6], others[:, :6])
    assert not np.allclose(states[:, 6:], others[:, 6:])


def _facts(videos: int) -> ItemFacts:
    return ItemFacts(
        np.arange(videos),
        np.zeros((videos, 1), dtype=np.int32),
        np.zeros(1, dtype=np.int64),
        np.zeros((videos, 1), dtype=np.float32),
    )


def test_a_refit_is_the_same_to_the_last_bit(settings, short):
    past = _log()
    one, other = (SOURCES["sequence"].fit(past, settings) for _ in range(2))
    assert len(one["curve"]) > 1
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), name


def test_a_video_without_a_play_enters_by_its_author_and_a_user_without_one_by_popularity(
    settings, untrained, of_use
):
    """Half of the users like author 0's videos, the others author 1's; each has one without a play."""
    half = VIDEOS // 2
    video = np.random.default_rng(1).integers(0, half, (USERS, PLAYS))
    video[: USERS // 2] += half
    # The last one is the most popular.
    video[0] = VIDEOS - 1
    past = _past(video)
    author = np.append(np.arange(VIDEOS) // half, [0, 1])
    path = settings.paths.feature_source(columns.VIDEO_PROFILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {columns.VIDEO_ID: np.arange(VIDEOS + 2), columns.AUTHOR_ID: author}
        | dict.fromkeys(columns.CATEGORY_LEVELS)
    ).with_columns(
        pl.lit(CUTOFF - timedelta(days=9)).dt.cast_time_unit("us").alias(columns.EVENT_TIMESTAMP)
    ).write_parquet(path)
    arrays = SOURCES["sequence"].fit(past, settings)
    scores = _scores("sequence", past, arrays, users=1, cold=2)
    of_author_1 = np.arange(USERS) < USERS // 2
    assert (scores[:-1][of_author_1, -1] > scores[:-1][of_author_1, -2]).mean() > 0.9
    assert (scores[:-1][~of_author_1, -1] < scores[:-1][~of_author_1, -2]).mean() > 0.9
    assert scores[-1].argmax() == np.bincount(video.ravel()).argmax()
