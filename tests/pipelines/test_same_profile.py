"""Source `same_profile` learns from plays and attributes that were known before its cutoff."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from pipelines.local_days import ALWAYS_KNOWN, INSTANT
from pipelines.retrieval.fits import fitted_arrays
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sources import Catalogue
from tests.fixtures.small_log import FIRST_DAY, midnight, settings_for

CUTOFF = midnight(FIRST_DAY + timedelta(days=3))
NAME, USERS = "same_profile", 240
SHARED = 0  # the video that everyone plays; users of an even number play 1 as well, the others 2


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path)


def _plays(users=range(USERS), at: datetime = CUTOFF - timedelta(hours=2), extra=lambda user: 1 + user % 2):
    rows = [(user, video) for user in users for video in (SHARED, extra(user))]
    return pl.DataFrame(
        {
            columns.USER_ID: [user for user, _ in rows],
            columns.VIDEO_ID: [video for _, video in rows],
            columns.EVENT_TIMESTAMP: pl.Series([at] * len(rows)).cast(INSTANT),
            columns.WATCH_RATIO: pl.Series([2.0] * len(rows), dtype=pl.Float32),
            columns.VIDEO_DURATION: pl.Series([9_000] * len(rows), dtype=pl.Int32),
        }
    )


def _write_profiles(settings, value, *, at=ALWAYS_KNOWN, earlier=None, users=USERS):
    """value: gives a user's onehot_feat0; all else is the same for everyone."""
    profiles = pl.DataFrame({columns.USER_ID: range(users)}).with_columns(
        pl.lit(at, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP),
        *(pl.lit("one").alias(name) for name in columns.USER_CATEGORICALS),
        *(pl.lit(1, dtype=pl.Int32).alias(name) for name in columns.ONEHOT_FEATURES[1:]),
        pl.Series(columns.ONEHOT_FEATURES[0], [value(user) for user in range(users)], dtype=pl.Int32),
    )
    path = settings.paths.feature_source(columns.USER_PROFILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    (profiles if earlier is None else pl.concat([earlier, profiles])).write_parquet(path)
    return profiles


def _catalogue(past: Past) -> Catalogue:
    none = np.full(len(past.video_id), -1)
    return Catalogue(past.video_id, np.arange(len(none)), none, none, none, none)


def _scores(plays: pl.DataFrame, settings, *, fresh: bool = True) -> np.ndarray:
    """[users, videos]: of the fit itself, or of one that may be kept from before."""
    past = Past.of(plays, CUTOFF, settings.data)
    arrays = SOURCES[NAME].fit(past, settings) if fresh else fitted_arrays(past, settings, (NAME,))[NAME]
    fitted, videos = SOURCES[NAME].over(arrays, _catalogue(past)), np.arange(len(past.video_id))
    instants = np.full(len(past.user_id), past.cutoff_us)
    return fitted.scores(PlaysByUser(past).histories(past.user_id, instants, videos, len(videos)))


def test_a_user_is_given_what_users_with_the_same_attributes_play(settings):
    _write_profiles(settings, lambda user: user % 2)
    scores = _scores(_plays(), settings)
    assert (scores[::2, 1] > scores[::2, 2] + 0.2).all()
    assert (scores[1::2, 2] > scores[1::2, 1] + 0.2).all()
    assert np.ptp(scores[:, SHARED]) < 1e-5


def test_without_attributes_everyone_is_given_what_is_played_most(settings):
    for_all = _scores(_plays(), settings)
    assert (for_all == for_all[0]).all()
    assert for_all[0].argmax() == SHARED
    _write_profiles(settings, lambda _: 1)  # the same for all
    assert np.array_equal(_scores(_plays(), settings), for_all)
    _write_profiles(settings, lambda user: user)  # an id
    assert np.array_equal(_scores(_plays(), settings), for_all)


def test_a_user_without_plays_is_known_by_attributes(settings):
    """Not by those of the file alone: others have to have played with the same ones."""
    _write_profiles(settings, lambda user: user % 2 if user <= USERS else 7, users=USERS + 9)
    past = Past.of(_plays(), CUTOFF, settings.data)
    fitted = SOURCES[NAME].over(SOURCES[NAME].fit(past, settings), _catalogue(past))
    assert fitted.knows(np.array([0, USERS, USERS + 1, 9_999])).tolist() == [True, True, False, False]
    index, videos = PlaysByUser(past), np.arange(len(past.video_id))
    new, unknown = fitted.scores(
        index.histories(np.array([USERS, USERS + 1]), np.full(2, past.cutoff_us), videos, len(videos))
    )
    assert new[1] > new[2] + 0.2
    assert unknown[SHARED] == unknown.max()


def test_plays_from_the_cutoff_on_change_nothing(settings):
    """As do users who play for the first time then."""
    _write_profiles(settings, lambda user: user % 2, users=2 * USERS)
    later = _plays(range(2 * USERS), CUTOFF, extra=lambda user: 2 - user % 2)
    assert np.array_equal(_scores(pl.concat([_plays(), later]), settings), _scores(_plays(), settings))


def test_attributes_that_arrived_after_the_cutoff_change_nothing(settings):
    first = _write_profiles(settings, lambda user: user % 2)
    known = _scores(_plays(), settings)
    after = CUTOFF + timedelta(microseconds=1)
    _write_profiles(settings, lambda user: user % 3, at=after, earlier=first)
    assert np.array_equal(_scores(_plays(), settings), known)
    _write_profiles(settings, lambda user: user % 3, at=CUTOFF - timedelta(days=1), earlier=first)
    assert not np.array_equal(_scores(_plays(), settings), known)


def test_a_kept_fit_is_not_read_where_attributes_have_changed(settings):
    _write_profiles(settings, lambda user: user % 2)
    before = _scores(_plays(), settings, fresh=False)
    _write_profiles(settings, lambda user: user % 3)
    assert not np.array_equal(_scores(_plays(), settings, fresh=False), before)


def test_fits_of_plays_alone_are_kept_where_attributes_have_changed(settings):
    past = Past.of(_plays(), CUTOFF, settings.data)
    _write_profiles(settings, lambda user: user % 2)
    fitted_arrays(past, settings, (NAME, "recent_2d"))
    before = {path: path.read_bytes() for path in settings.paths.retrieval.rglob("*.npz")}
    _write_profiles(settings, lambda user: user % 3)
    fitted_arrays(past, settings, (NAME, "recent_2d"))
    after = {path: path.read_bytes() for path in settings.paths.retrieval.rglob("*.npz")}
    assert after.keys() == before.keys()
    assert [path.stem for path in after if after[path] != before[path]] == [NAME]
