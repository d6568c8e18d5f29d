"""Who gets a list and from which videos: strictly what was known, and what the owner allows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines.local_days import ALWAYS_KNOWN
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import Exclusions, default_as_of, find_candidates
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.scored_home import AS_OF, DAYS, LATE, NEVER_PLAYED, SEEN_ALL, scoring_log
from tests.fixtures.small_log import FIRST_DAY, midnight

LOG = scoring_log()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("candidates") / "home", LOG, patch)


def _find(home: Settings, as_of: datetime = AS_OF, **changes: object) -> Candidates:
    return find_candidates(home.changed(changes), open_store(), as_of)


def _seen(candidates: Candidates, user: int) -> set[int]:
    bits = np.unpackbits(candidates.seen.of(slice(None)), axis=1, count=len(candidates.video_id)).astype(bool)
    return set(candidates.video_id[bits[np.searchsorted(candidates.user_id, user)]].tolist())


def _last_known(as_of: datetime) -> pl.DataFrame:
    """From the daily table alone: each video's last known status and type as of an instant."""
    known_at = pl.col(columns.LOCAL_DATE).map_elements(
        lambda day: midnight(day + timedelta(days=1)), return_dtype=pl.Datetime("us", "UTC")
    )
    return (
        LOG.video_daily.filter(known_at <= as_of)
        .sort(columns.VIDEO_ID, columns.LOCAL_DATE)
        .group_by(columns.VIDEO_ID, maintain_order=True)
        .agg(pl.col(columns.VISIBLE_STATUS).last(), pl.col(columns.VIDEO_TYPE).last())
    )


def test_users_are_those_of_the_file_and_those_who_played_before(home: Settings) -> None:
    candidates = _find(home)
    earlier = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < AS_OF)
    expected = {*LOG.users[columns.USER_ID], *earlier[columns.USER_ID]}
    assert candidates.user_id.tolist() == sorted(expected)
    assert LATE not in candidates.user_id
    history = dict(zip(candidates.user_id.tolist(), candidates.has_history.tolist(), strict=True))
    assert not history[NEVER_PLAYED]
    assert {user for user in history if history[user]} == set(earlier[columns.USER_ID])


def test_a_play_at_the_very_instant_is_not_seen_and_one_microsecond_later_it_is(home: Settings) -> None:
    at_instant = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) == AS_OF)
    assert at_instant.height > 9
    after = _find(home, AS_OF + timedelta(microseconds=1))
    assert LATE in after.user_id
    assert _seen(after, LATE)


@pytest.mark.parametrize("hours", [-30, -5, 0, 7, 24 * DAYS])
def test_seen_is_what_was_played_strictly_before(home: Settings, hours: int) -> None:
    as_of = AS_OF + timedelta(hours=hours)
    candidates = _find(home, as_of)
    earlier = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < as_of)
    for user in candidates.user_id.tolist():
        played = set(earlier.filter(pl.col(columns.USER_ID) == user)[columns.VIDEO_ID])
        assert _seen(candidates, user) == played & set(candidates.video_id.tolist())


def test_of_the_end_of_the_log_bits_stay_in_their_file_unless_it_will_be_gone(home: Settings) -> None:
    end = midnight(FIRST_DAY + timedelta(days=DAYS))
    stored, read = (find_candidates(home, open_store(), end, read_now=now) for now in (False, True))
    # A number for each user.
    assert stored.seen.rows.shape == stored.user_id.shape
    np.testing.assert_array_equal(stored.seen.of(slice(None)), read.seen.rows)


@pytest.mark.parametrize("batch_rows", [1, 97, 10_000])
def test_the_size_of_a_batch_changes_nothing(home: Settings, batch_rows: int) -> None:
    found = find_candidates(home, open_store(), AS_OF, batch_rows=batch_rows)
    once = _find(home)
    for name in ("user_id", "has_history", "video_id"):
        np.testing.assert_array_equal(vars(found)[name], vars(once)[name])
    np.testing.assert_array_equal(found.seen.of(slice(None)), once.seen.of(slice(None)))


def test_seen_may_be_listed_where_the_settings_say_so(home: Settings) -> None:
    assert not _find(home, **{"lists.exclude.seen": False}).seen.of(slice(None)).any()


def test_who_has_seen_everything_is_shown_everything(home: Settings) -> None:
    candidates = _find(home)
    user = np.searchsorted(candidates.user_id, [SEEN_ALL])
    assert candidates.rewatch(user).all() and candidates.open_to(user).all()
    assert not candidates.rewatch(np.searchsorted(candidates.user_id, [NEVER_PLAYED])).any()


@pytest.mark.parametrize("days", [1, 3, 6])
def test_videos_are_those_that_a_day_gone_by_has_told_of(home: Settings, days: int) -> None:
    as_of = midnight(FIRST_DAY + timedelta(days=days))
    candidates = _find(home, as_of, **{"lists.exclude.not_public": False})
    played = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < as_of)[columns.VIDEO_ID]
    known = {*played, *_last_known(as_of)[columns.VIDEO_ID]}
    assert candidates.video_id.tolist() == sorted(known)
    if days > 1:
        a_moment_before = _find(
            home, as_of - timedelta(microseconds=1), **{"lists.exclude.not_public": False}
        )
        assert set(a_moment_before.video_id.tolist()) < known


def test_hidden_videos_and_advertisements_are_left_out_by_setting(home: Settings) -> None:
    known = set(_find(home, **{"lists.exclude.not_public": False}).video_id.tolist())
    status = _last_known(AS_OF)
    hidden = set(status.filter(pl.col(columns.VISIBLE_STATUS) != "public")[columns.VIDEO_ID])
    advertisements = set(status.filter(pl.col(columns.VIDEO_TYPE) == "AD")[columns.VIDEO_ID])
    assert hidden and advertisements - hidden
    assert set(_find(home).video_id.tolist()) == known - hidden
    without = set(_find(home, **{"lists.exclude.advertisements": True}).video_id.tolist())
    assert without == known - hidden - advertisements


@pytest.mark.parametrize("days", [1, 3])
def test_what_was_seen_long_ago_may_be_listed_again_by_setting(home: Settings, days: int) -> None:
    candidates = _find(home, **{"lists.exclude.seen_days": days})
    since = AS_OF - timedelta(days=days)
    plays = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP).is_between(since, AS_OF, closed="left"))
    assert len(plays) < LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < AS_OF).height
    for user in candidates.user_id.tolist():
        played = set(plays.filter(pl.col(columns.USER_ID) == user)[columns.VIDEO_ID])
        assert _seen(candidates, user) == played & set(candidates.video_id.tolist())
    assert candidates.has_history.tolist() == _find(home).has_history.tolist()


def test_videos_older_than_so_many_days_are_left_out(home: Settings) -> None:
    """The age counts from the last recorded day of upload, else from when the video was first known."""
    known_at = [midnight(day + timedelta(days=1)) for day in LOG.video_daily[columns.LOCAL_DATE]]
    records = LOG.video_daily.with_columns(known_at=pl.Series(known_at)).filter(pl.col("known_at") <= AS_OF)
    uploaded = records.sort(columns.LOCAL_DATE).group_by(columns.VIDEO_ID).agg(pl.last(columns.UPLOAD_DATE))
    young = {
        video
        for video, day in uploaded.select(columns.VIDEO_ID, columns.UPLOAD_DATE).iter_rows()
        if midnight(day) >= AS_OF - timedelta(days=9)
    }
    everything = set(_find(home).video_id.tolist())
    found = set(_find(home, **{"lists.exclude.max_age_days": 9}).video_id.tolist())
    untold = everything - set(uploaded[columns.VIDEO_ID])
    assert found == everything & (young | untold)
    assert 0 < len(found) < len(everything)


def test_the_blocklist_and_users_to_skip_are_left_out(home: Settings) -> None:
    before = _find(home)
    exclusions = Exclusions(np.array([-5, before.video_id[3], 10**12]), np.array([-9, SEEN_ALL, 10**12]))
    after = find_candidates(home, open_store(), AS_OF, exclusions)
    assert after.video_id.tolist() == np.delete(before.video_id, 3).tolist()
    assert after.user_id.tolist() == [user for user in before.user_id.tolist() if user != SEEN_ALL]
    for user in after.user_id.tolist():
        assert _seen(after, user) == _seen(before, user) - {before.video_id[3]}


def test_everyone_skipped_or_everything_blocked_is_wrong_input(home: Settings) -> None:
    all_of_it = _find(home)
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(InputError, match="skip_user"):
        find_candidates(home, open_store(), AS_OF, Exclusions(none, all_of_it.user_id))
    with pytest.raises(InputError, match="blocklist"):
        find_candidates(home, open_store(), AS_OF, Exclusions(all_of_it.video_id, none))


def test_caps_know_each_videos_author_and_category(home: Settings) -> None:
    assert _find(home).caps == ()
    candidates = _find(home, **{"lists.max_per.author": 2, "lists.max_per.category": 3})
    author, category = candidates.caps
    assert (author.setting, author.most) == ("[lists.max_per] author", 2)
    assert (category.setting, category.most) == ("[lists.max_per] category", 3)
    first = columns.CATEGORY_LEVELS[0]
    expected = dict(LOG.video_captions.select(columns.VIDEO_ID, first).iter_rows())
    assert category.group.tolist() == [expected[video] for video in candidates.video_id.tolist()]
    records = LOG.video_daily.filter(pl.col(columns.LOCAL_DATE) < AS_OF.astimezone(home.data.zone).date())
    last = records.sort(columns.LOCAL_DATE).group_by(columns.VIDEO_ID).agg(pl.last(columns.AUTHOR_ID))
    authors = dict(last.iter_rows())
    assert author.group.tolist() == [authors.get(video, -1) for video in candidates.video_id.tolist()]


def test_an_instant_before_the_data_is_wrong_input(home: Settings) -> None:
    first = LOG.interactions[columns.EVENT_TIMESTAMP][0]
    for instant in (ALWAYS_KNOWN, first):
        with pytest.raises(InputError, match="as-of"):
            _find(home, instant)


def test_by_default_lists_are_as_of_the_end_of_the_last_day(home: Settings) -> None:
    last = LOG.interactions[columns.EVENT_TIMESTAMP][-1]
    end = midnight(last.astimezone(home.data.zone).date() + timedelta(days=1), home.data.zone)
    assert default_as_of(home.paths, home.data, datetime(2030, 1, 1, tzinfo=UTC)) == end
    assert default_as_of(home.paths, home.data, last) == last
