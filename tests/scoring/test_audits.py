"""Each audit fails on what it is for, and says so; the lists shown before stay."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from nightreel.core.errors import AuditError
from nightreel.core.settings import Settings
from scoring.lists.candidates import Candidates, Cap
from scoring.lists.rows import HYBRID, POPULAR, REWATCH, Lists
from scoring.lists.seen_bits import SeenBits
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.test_publish_atomic import NIGHT, publish_lists

pytestmark = pytest.mark.current_schema

Spoil = Callable[[Lists, Candidates], Lists]


def _rows(lists: Lists, rows: np.ndarray) -> Lists:
    return Lists(*(column[rows] for column in vars(lists).values()))


def _without_a_user(lists: Lists, candidates: Candidates) -> Lists:
    return _rows(lists, lists.user_id != candidates.user_id[20])


def _with_a_stranger(lists: Lists, candidates: Candidates) -> Lists:
    stranger = _rows(lists, lists.user_id == candidates.user_id[20])
    return Lists.concatenate([lists, replace(stranger, user_id=stranger.user_id + 100_000)])


def _with_a_stranger_between(lists: Lists, candidates: Candidates) -> Lists:
    free = np.setdiff1d(np.arange(candidates.user_id[0], candidates.user_id[-1]), candidates.user_id)[0]
    stranger = _rows(lists, lists.user_id == candidates.user_id[20])
    return Lists.concatenate([lists, replace(stranger, user_id=np.full(len(stranger), free))])


def _short(lists: Lists, candidates: Candidates) -> Lists:
    return _rows(lists, (lists.user_id != candidates.user_id[-1]) | (lists.rank < lists.rank.max()))


def _with_a_gap(lists: Lists, candidates: Candidates) -> Lists:
    return replace(lists, rank=np.where(lists.rank == 10, 11, lists.rank).astype(np.int32))


def _with_a_repeat(lists: Lists, candidates: Candidates) -> Lists:
    video = lists.video_id.copy()
    video[np.flatnonzero(lists.rank == 2)[-1]] = video[np.flatnonzero(lists.rank == 1)[-1]]
    return replace(lists, video_id=video)


def _with_a_hidden_video(lists: Lists, candidates: Candidates) -> Lists:
    video = lists.video_id.copy()
    video[7] = np.setdiff1d(np.arange(100, 600), candidates.video_id)[0]
    return replace(lists, video_id=video)


def _with_a_seen_video(lists: Lists, candidates: Candidates) -> Lists:
    user = np.flatnonzero(lists.source == HYBRID)[0]
    index = np.searchsorted(candidates.user_id, lists.user_id[user])
    seen = candidates.video_id[~candidates.open_to(np.array([index]))[0]]
    return replace(lists, video_id=np.where(np.arange(len(lists)) == user, seen[0], lists.video_id))


def _rows_of_group(lists: Lists, candidates: Candidates) -> np.ndarray:
    return candidates.caps[0].group[np.searchsorted(candidates.video_id, lists.video_id)]


def _with_too_many_of_a_group(lists: Lists, candidates: Candidates) -> Lists:
    """The second row of a user becomes another open video of the first one's group."""
    user = np.flatnonzero(lists.source == HYBRID)[0]
    mine = np.flatnonzero(lists.user_id == lists.user_id[user])
    index = np.searchsorted(candidates.user_id, lists.user_id[user])
    group = candidates.caps[0].group
    of_mine = _rows_of_group(lists, candidates)[mine]
    for at, wanted in zip(mine, of_mine, strict=True):
        others = (group == wanted) & candidates.open_to(np.array([index]))[0]
        others &= ~np.isin(candidates.video_id, lists.video_id[mine])
        if wanted >= 0 and others.any():
            video = lists.video_id.copy()
            video[mine[mine != at][0]] = candidates.video_id[others][0]
            return replace(lists, video_id=video)
    raise AssertionError("no other video of a group")


def _with_score(value: float) -> Spoil:
    return lambda lists, _: replace(lists, score=np.where(np.arange(len(lists)) == 5, value, lists.score))


def _with_infinite_stage(lists: Lists, candidates: Candidates) -> Lists:
    return replace(lists, als_score=np.full(len(lists), np.inf))


def _rising(lists: Lists, candidates: Candidates) -> Lists:
    return replace(lists, score=np.where(lists.rank == 3, -1.0, lists.score))


def _with_names(value: str, source: str) -> Spoil:
    def spoil(lists: Lists, candidates: Candidates) -> Lists:
        at = np.flatnonzero(lists.source == source)[0]
        names = lists.candidate_sources.astype(object)
        names[at] = value
        return replace(lists, candidate_sources=names.astype(str))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "audit"),
    [
        (_without_a_user, "every eligible user"),
        (_with_a_stranger, "every eligible user"),
        (_with_a_stranger_between, "every eligible user"),
        (_short, "full lists"),
        (_with_a_gap, "ranks 1..n"),
        (_with_a_repeat, "distinct videos"),
        (_with_a_hidden_video, "listable videos"),
        (_with_a_seen_video, "unseen videos"),
        (_with_score(float("nan")), "finite scores"),
        (_with_score(float("inf")), "finite scores"),
        (_with_infinite_stage, "finite scores"),
        (_rising, "scores ordered by rank"),
        (_with_names("ease,hearsay", HYBRID), "candidate sources"),
        (_with_names("ease,ease", HYBRID), "candidate sources"),
        (_with_names("ease", POPULAR), "candidate sources"),
        (_with_names("ease", REWATCH), "candidate sources"),
    ],
)
def test_a_spoilt_run_fails_the_audit_of_its_flaw(settings: Settings, spoil: Spoil, audit: str) -> None:
    candidates = make_candidates(21)
    good = list(make_blocks(candidates, 21, k=10))
    publish_lists(settings, candidates, good)
    before = shown_rows(settings)
    spoilt = spoil(Lists.concatenate(make_blocks(candidates, 22, k=10)), candidates)
    with pytest.raises(AuditError, match=f"audit `{audit}`"):
        publish_lists(settings, candidates, [spoilt], NIGHT + timedelta(days=1))
    assert shown_rows(settings) == before


def _capped(candidates: Candidates) -> Candidates:
    """Two videos of an author at most; authors 0 to 8, and videos of which it is not known."""
    author = np.random.default_rng(0).integers(-1, 9, len(candidates.video_id))
    return replace(
        candidates, caps=(Cap("max_per_author", 2, author), Cap("max_per_category", 5, author % 3))
    )


def test_lists_within_the_caps_are_published_also_where_they_are_short(settings: Settings) -> None:
    candidates = _capped(make_candidates(35))
    lists = Lists.concatenate(make_blocks(candidates, 35, k=10))
    rows = np.unique(lists.user_id, return_counts=True)[1]
    assert rows.min() < rows.max() == 10
    publish_lists(settings, candidates, [lists])


def test_a_list_with_too_many_of_one_author_fails(settings: Settings) -> None:
    candidates = _capped(make_candidates(36))
    lists = Lists.concatenate(make_blocks(candidates, 36, k=10))
    with pytest.raises(AuditError, match=r"audit `at most \d by max_per_"):
        publish_lists(settings, candidates, [_with_too_many_of_a_group(lists, candidates)])


def test_a_list_that_the_caps_leave_room_in_fails(settings: Settings) -> None:
    candidates = _capped(make_candidates(37))
    lists = Lists.concatenate(make_blocks(candidates, 37, k=10))
    with pytest.raises(AuditError, match="audit `full lists`: 1 users"):
        publish_lists(settings, candidates, [_short(lists, candidates)])


def test_strangers_are_found_also_beyond_a_thousand_users(settings: Settings) -> None:
    candidates = make_candidates(23, users=1_100, videos=12)
    spoilt = _with_a_stranger_between(Lists.concatenate(make_blocks(candidates, 23, k=10)), candidates)
    with pytest.raises(AuditError, match="every eligible user"):
        publish_lists(settings, candidates, [spoilt])


def test_a_user_who_has_seen_everything_may_be_shown_it_again(settings: Settings) -> None:
    candidates = make_candidates(24)
    lists = Lists.concatenate(make_blocks(candidates, 24, k=10))
    assert "rewatch" in lists.source
    publish_lists(settings, candidates, [lists])


def _fewer(candidates: Candidates, *, users: int | None = None, videos: int | None = None) -> Candidates:
    bits = candidates.seen.of(slice(users))
    seen = np.unpackbits(bits, axis=1, count=len(candidates.video_id))[:, :videos]
    return Candidates(
        candidates.user_id[:users],
        candidates.has_history[:users],
        candidates.video_id[:videos],
        SeenBits(np.packbits(seen, axis=1)),
    )


def test_a_run_of_far_fewer_users_is_not_published(settings: Settings) -> None:
    candidates = make_candidates(25)
    publish_lists(settings, candidates, make_blocks(candidates, 25, k=10))
    few = _fewer(candidates, users=19)
    with pytest.raises(AuditError, match=r"users in line with the last run.*min_share_of_last_run"):
        publish_lists(settings, few, make_blocks(few, 26, k=10), NIGHT + timedelta(days=1))


def test_a_run_of_far_fewer_rows_is_not_published(settings: Settings) -> None:
    candidates = make_candidates(27)
    publish_lists(settings, candidates, make_blocks(candidates, 27, k=10))
    few = _fewer(candidates, videos=4)
    with pytest.raises(AuditError, match="rows in line with the last run"):
        publish_lists(settings, few, make_blocks(few, 28, k=10), NIGHT + timedelta(days=1))


def test_a_replay_of_an_earlier_night_may_be_smaller(settings: Settings) -> None:
    candidates = make_candidates(29)
    publish_lists(settings, candidates, make_blocks(candidates, 29, k=10))
    few = _fewer(candidates, videos=4)
    publish_lists(settings, few, make_blocks(few, 30, k=10), NIGHT - timedelta(days=1))


def test_shorter_lists_by_setting_are_no_shortage(settings: Settings) -> None:
    candidates = make_candidates(31)
    publish_lists(settings, candidates, make_blocks(candidates, 31, k=10))
    shorter = settings.changed({"lists.top_k": 3})
    publish_lists(shorter, candidates, make_blocks(candidates, 32, k=3), NIGHT + timedelta(days=1))


def test_too_many_changed_lists_are_not_published(settings: Settings) -> None:
    strict = settings.changed({"database.audits.max_changed_lists": 0.1})
    candidates = make_candidates(33, videos=200)
    first = list(make_blocks(candidates, 33, k=10))
    publish_lists(strict, candidates, first)
    publish_lists(strict, candidates, first, NIGHT + timedelta(days=1))
    with pytest.raises(AuditError, match="changed lists"):
        publish_lists(strict, candidates, make_blocks(candidates, 34, k=10), NIGHT + timedelta(days=2))
