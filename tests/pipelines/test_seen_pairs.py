"""Plays are added to the stored pairs for some users at a time: bits and first plays are those of all."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import ClusterSettings
from pipelines.features import seen_pairs, stored_pairs
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.seen_pairs import NewPlays, add_plays
from pipelines.features.stored_pairs import StoredPairs
from pipelines.pair_bit_loops import set_bits

FIRST_DAY = date(2020, 7, 5)
USERS, PLAYS, NIGHTS = 150, 500, 4


def _plays(folder: Path, width: int) -> tuple[GainedPlays, dict[date, pl.DataFrame]]:
    """Two days of each night, whose ids lie `width` apart; users come and go."""
    random, files, plays = np.random.default_rng(3), {}, {}
    for number in range(2 * NIGHTS):
        day = FIRST_DAY + timedelta(days=number)
        users = random.integers(0, USERS // (2 * NIGHTS) * (number + 1), PLAYS) * width
        videos = random.integers(-30, 30, PLAYS) * width
        plays[day] = pl.DataFrame({columns.USER_ID: users, columns.VIDEO_ID: videos})
        files[day] = folder / f"{day}.parquet"
        plays[day].write_parquet(files[day])
    return GainedPlays(files, frozenset(), {}, frozenset()), plays


@pytest.mark.parametrize("width", [1, 10**12])
def test_plays_of_several_nights_are_added_for_few_users_at_a_time(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that are close together are looked up, others are searched for."""
    monkeypatch.setattr(stored_pairs, "_GROUP_USERS", 16)
    monkeypatch.setattr(seen_pairs, "RANGE_BYTES", 40 * 8)  # 40 users, but a range is of whole row groups
    sizes: list[int] = []

    def noting(bits: np.ndarray, *pairs: np.ndarray) -> np.ndarray:
        sizes.append(len(bits))
        return set_bits(bits, *pairs)

    monkeypatch.setattr(seen_pairs, "set_bits", noting)
    gained, plays = _plays(tmp_path, width)
    known: set[tuple[int, int]] = set()
    folder = None
    for night in range(NIGHTS):
        days = tuple(list(plays)[2 * night : 2 * night + 2])
        so_far = pl.concat(of_day for day, of_day in plays.items() if day <= days[-1])
        ids = [so_far[key].unique().sort().to_numpy() for key in (columns.USER_ID, columns.VIDEO_ID)]
        stored = None if folder is None else StoredPairs(folder)
        folder = tmp_path / str(night)
        folder.mkdir()
        new = NewPlays(gained, days, repeats_before=days[-1])
        added = add_plays(folder, stored, new, *ids, cluster=ClusterSettings())
        users, videos, repeats = Counter(), Counter(), []  # type: ignore[var-annotated]
        for day in days:
            for user, video in plays[day].iter_rows():
                if (user, video) not in known:
                    users[user, day] += 1
                    videos[video, day] += 1
                elif day < days[-1]:
                    repeats.append((user, video, day))
                known.add((user, video))
        assert {(user, day): first for user, day, first in added.users.iter_rows()} == users
        assert {(video, day): first for video, day, first in added.videos.iter_rows()} == videos
        assert sorted(added.repeats.rows()) == sorted(repeats)
        now = StoredPairs(folder)
        assert now.user_ids.tolist() == sorted({user for user, _ in known})
        asked_users, asked_videos = np.arange(-2, USERS + 5) * width, np.arange(-40, 40, 3) * width
        bits = now.over(asked_videos).read(now.rows_of(asked_users))
        expected = [[(user, video) in known for video in asked_videos] for user in asked_users]
        np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=len(asked_videos)), expected)
    assert len(ids[0]) > 100 and max(sizes) == 32
