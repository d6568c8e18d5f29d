"""What was listed in vain loses ground night after night, is forgotten when played, and costs few bytes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select

from nightreel.core.ids import INTEGERS
from nightreel.core.settings import Settings
from pipelines.repeat_discount import discount_of
from scoring.database import repeats as stored
from scoring.database.connection import reading, sql_engine
from scoring.database.new_run import NewRun
from scoring.database.repeats import read_repeats
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.tables import list_repeat
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates
from scoring.lists.rows import HYBRID, Lists
from scoring.lists.rules.repeats import VIDEOS_MAX, RepeatDiscount, Repeats, after_night
from scoring.lists.rules.stage import ListRules
from scoring.lists.seen_bits import SeenBits

NIGHT = datetime(2020, 8, 15, 16, tzinfo=UTC)
USERS, VIDEOS, K = 30, 12, 4


def _night(settings: Settings, n: int, played: tuple[tuple[int, int], ...] = ()) -> Lists:
    """Publish night n: the model says the same each night. played: (user, video), positions."""
    bits = np.zeros((USERS, VIDEOS), dtype=bool)
    for user, video in played:
        bits[user, video] = True
    as_of = NIGHT + timedelta(days=n)
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
            repeats = read_repeats(connection, INTEGERS, as_of, settings)
        candidates = Candidates(
            np.arange(1, USERS + 1) * 3,
            np.ones(USERS, dtype=bool),
            np.arange(VIDEOS) + 100,
            SeenBits(np.packbits(bits, axis=1)),
            repeats=repeats,
        )
        assert repeats is not None
        discount = RepeatDiscount(repeats, 2, discount_of(settings))
        rules = ListRules(candidates.rules, (), candidates.video_id, np.zeros(VIDEOS), K, repeats=discount)
        parts = []
        for at, user in enumerate(candidates.user_id.tolist()):
            videos = np.flatnonzero(candidates.open_videos(at).dense())
            score = -videos.astype(np.float64)
            rows = len(videos)
            parts.append(
                Lists(
                    np.full(rows, user),
                    np.arange(1, rows + 1, dtype=np.int32),
                    candidates.video_id[videos],
                    score,
                    *[score] * 3,
                    np.full(rows, HYBRID),
                    np.full(rows, ""),
                )
            )
        lists = rules.lists(Lists.concatenate(parts), candidates)
        publish(connection, NewRun(as_of, "m", f"{n}"), [lists], candidates, settings)
    return lists


@pytest.mark.parametrize("users_at_a_time", [1, 7, 10_000])
def test_what_is_listed_in_vain_goes_down_and_what_is_played_is_forgotten(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, users_at_a_time: int
) -> None:
    # However many users are read and written at a time.
    monkeypatch.setattr(stored, "_ROWS_AT_A_TIME", users_at_a_time)
    monkeypatch.setattr(stored, "_USERS_AT_A_TIME", users_at_a_time)
    monkeypatch.setattr(stored, "REPEAT_RANKS", 2)
    changed = settings.changed({"lists.top_k": K, "lists.repeat_discount": 0.8})
    for n in (0, 1):
        lists = _night(changed, n)
        assert lists.video_id[:K].tolist() == [100, 101, 102, 103] and set(lists.rule) == {""}
    # The first two were listed twice: their ranks are 5 and 10 instead of 1 and 2.
    third = _night(changed, 2, played=((1, 2),))
    assert third.video_id[:K].tolist() == [102, 103, 104, 100]
    assert third.rule[:K].tolist() == ["", "", "", "repeat"]
    # The same night again is no night more.
    assert _night(changed, 2, played=((1, 2),)).video_id.tolist() == third.video_id.tolist()
    _night(changed, 3, played=((1, 2), (0, 0)))
    with reading(changed) as connection:
        rows = connection.execute(
            select(list_repeat.c.listed).where(list_repeat.c.user_id == 3).order_by(list_repeat.c.run_id)
        ).scalars()
        assert list(rows) == [
            "[[100, 1], [101, 1]]",
            "[[100, 2], [101, 2]]",
            "[[100, 2], [101, 2], [102, 1], [103, 1]]",
            "[[100, 2], [101, 2], [102, 1], [103, 1]]",
            "[[101, 2], [102, 2], [103, 2]]",
        ]


def test_nothing_is_noted_where_nothing_is_discounted(settings: Settings) -> None:
    off = settings.changed({"lists.top_k": K})
    with exclusive_lock(sql_engine(off)) as connection, connection.begin():
        upgrade(connection)
        assert read_repeats(connection, INTEGERS, NIGHT, off) is None


@examples(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 60), max_size=30, unique=True), st.lists(st.integers(0, 60), max_size=5)
        ),
        max_size=8,
    )
)
def test_nights_are_counted_as_one_would_by_hand(nights: list[tuple[list[int], list[int]]]) -> None:
    state = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    counts: dict[int, int] = {}
    for listed, played in nights:
        state = after_night(state, np.array(listed, np.int64), np.array(played, np.int64))
        for video in listed:
            counts[video] = counts.get(video, 0) + 1
        counts = {video: n for video, n in counts.items() if video not in played}
        order = sorted(counts, key=lambda video: (video not in listed, -counts[video], video))
        counts = {video: counts[video] for video in order[:VIDEOS_MAX]}
        assert dict(zip(state[0].tolist(), state[1].tolist(), strict=True)) == counts


def test_ten_million_users_fit() -> None:
    """5 bytes a video and 16 a user, measured on a thousandth of them."""
    videos = np.arange(VIDEOS_MAX, dtype=np.int64)
    full = [(user, videos, np.full(VIDEOS_MAX, 9)) for user in range(10_000)]
    held = Repeats.of(full, videos)
    size = sum(one.nbytes for one in (held.user_id, held.starts, held.video, held.nights))
    assert size / len(full) <= VIDEOS_MAX * 5 + 17
    assert 10_000_000 * size / len(full) < 2.7e9
