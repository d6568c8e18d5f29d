"""What had been played before an evaluation's instant, counted by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from pipelines.evaluate.history import History
from pipelines.evaluate.protocols import KUAIREC, Pairs
from pipelines.evaluate.trials import KINDS, kinds_of
from pipelines.local_days import INSTANT

START = datetime(2020, 7, 1, tzinfo=UTC)
# User, video and day of each play; user 9 and video 80 are not among the pairs.
PLAYS = [(1, 10, 3), (1, 10, 1), (2, 10, 2), (9, 10, 4), (9, 30, 5), (1, 80, 0)]
PAIRS = [(1, 10), (1, 20), (1, 30), (2, 10), (3, 10)]


def _pairs(plays: list[tuple[int, int, int]]) -> Pairs:
    users, videos, days = ([play[at] for play in plays] for at in range(3))
    history = pl.DataFrame(
        {
            columns.USER_ID: pl.Series(users, dtype=pl.Int64),
            columns.VIDEO_ID: pl.Series(videos, dtype=pl.Int64),
            columns.EVENT_TIMESTAMP: pl.Series([START + timedelta(days=day) for day in days], dtype=INSTANT),
        }
    )
    rows = pl.DataFrame(PAIRS, schema=[columns.USER_ID, columns.VIDEO_ID], orient="row")
    return Pairs(KUAIREC, START + timedelta(days=9), rows, 3, history.lazy())


def test_plays_are_counted_by_video_and_by_user() -> None:
    history = History.of(_pairs(PLAYS))
    assert history.video_id.tolist() == [10, 20, 30]
    assert history.views.tolist() == [4, 0, 1]
    assert history.viewers.tolist() == [3, 0, 1]
    first = [START + timedelta(days=1), START + timedelta(days=5)]
    assert history.first_us[[0, 2]].tolist() == [int(instant.timestamp()) * 1_000_000 for instant in first]
    assert history.user_id.tolist() == [1, 2, 9]
    assert history.plays_of(np.array([1, 2, 3])).tolist() == [3, 1, 0]


@pytest.mark.parametrize(("plays", "expected"), [(PLAYS, [1, 2, 0, 1, 0]), ([], [2] * 5)])
def test_a_pair_is_new_watched_again_or_of_a_video_that_nobody_had_played(
    plays: list[tuple[int, int, int]], expected: list[int]
) -> None:
    assert KINDS == ("first watch", "re-watch", "new video")
    pairs = _pairs(plays)
    found = kinds_of(pairs, History.of(pairs))
    assert found.dtype == np.int8
    assert found.tolist() == expected
