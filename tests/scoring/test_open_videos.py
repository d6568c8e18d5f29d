"""What is asked of a few videos is what the whole table says; groups give the most seen first."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoring.lists.candidates import Candidates
from scoring.lists.groups import Groups
from scoring.lists.seen_bits import SeenBits


def _candidates(seen: np.ndarray) -> Candidates:
    users, videos = seen.shape
    return Candidates(
        np.arange(users), np.ones(users, dtype=bool), np.arange(videos), SeenBits(np.packbits(seen, axis=1))
    )


seen_tables = (
    st.integers(1, 40)
    .flatmap(
        lambda videos: st.lists(
            st.lists(st.booleans(), min_size=videos, max_size=videos), min_size=1, max_size=5
        )
    )
    .map(lambda rows: np.array(rows, dtype=bool))
)


@given(seen_tables)
def test_one_user_s_open_videos_are_those_of_the_table(seen: np.ndarray) -> None:
    candidates = _candidates(seen)
    wanted = ~seen
    wanted[seen.all(axis=1)] = True
    np.testing.assert_array_equal(candidates.open_to(slice(None)), wanted)
    np.testing.assert_array_equal(candidates.rewatch(slice(None)), seen.all(axis=1))
    every = np.arange(seen.shape[1])
    for user, row in enumerate(wanted):
        open_videos = candidates.open_videos(user)
        assert len(open_videos) == row.sum()
        np.testing.assert_array_equal(open_videos.dense(), row)
        np.testing.assert_array_equal(open_videos.holds(every[::-1]), row[::-1])
        np.testing.assert_array_equal(open_videos.closed_positions(), np.flatnonzero(~row))


@given(st.lists(st.tuples(st.integers(-2, 4), st.booleans()), min_size=1, max_size=50), st.integers(1, 60))
def test_groups_give_the_open_videos_of_the_most_seen_and_best_received(
    videos: list[tuple[int, bool]], most: int
) -> None:
    ids = np.array([group for group, _ in videos])
    seen = np.array([was_seen for _, was_seen in videos])
    popular_at = np.random.default_rng(len(videos)).permutation(len(videos))
    counts = Counter(ids[seen & (ids >= 0)].tolist())
    wanted = sorted(
        (position for position in np.flatnonzero(~seen).tolist() if counts[ids[position]]),
        key=lambda position: (-counts[ids[position]], popular_at[position]),
    )
    if seen.all():
        wanted = []  # Then all are open, and none counts as seen.
    open_videos = _candidates(seen[None]).open_videos(0)
    groups = Groups.of(ids, popular_at)
    assert groups.most_seen(open_videos.closed_positions(), most, open_videos).tolist() == wanted[:most]
