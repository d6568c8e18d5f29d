"""Plays before a run; of days whose pairs and counts are kept by the features, the log is not read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import require_plays
from nightreel.core.settings.needs import LogNeeds
from pipelines.features.past_plays import PastPlays
from pipelines.features.sums_of_days import PLAYS
from pipelines.known import newest_play, plays_before
from pipelines.pair_bit_loops import set_bits

_PAIR = (columns.USER_ID, columns.VIDEO_ID)


@dataclass(frozen=True)
class Before:
    """The plays that had happened before `as_of` and had arrived by `known_at`, if that is known."""

    settings: LogNeeds
    as_of: datetime
    known_at: datetime | None

    @property
    def plays(self) -> pl.LazyFrame:
        """All of them, in order of time."""
        return self._of(require_plays(self.settings.paths.interactions))

    def newest(self) -> datetime | None:
        """When the last of them happened (UTC); None if there are none."""
        return newest_play(self.settings.paths, self.as_of, self.known_at)

    def plays_of_users(self) -> pl.DataFrame:
        """user_id and the number of its plays, `n`."""
        parts = [self._rest.group_by(columns.USER_ID).agg(pl.len().cast(pl.Int64).alias("n")).collect()]
        if self._past.kept is not None:
            parts.append(self._past.kept.plays_of_users.rename({PLAYS: "n"}))
        return pl.concat(parts).group_by(columns.USER_ID).agg(pl.col("n").sum())

    def video_ids(self) -> pl.DataFrame:
        """video_id, once each."""
        of_rest = self._rest.select(pl.col(columns.VIDEO_ID).unique()).collect()
        if self._past.kept is None:
            return of_rest
        kept = pl.DataFrame({columns.VIDEO_ID: self._past.kept.pairs.video_ids}, of_rest.schema)
        return pl.concat([of_rest, kept]).unique()

    def pairs_of(self, user_ids: Iterable[pl.Series], video_id: pl.Series) -> Iterator[pl.DataFrame]:
        """user_id, video_id of those of these users and videos that had been played, once each.

        Args:
            user_ids: groups of users; memory grows with the users of one group times the videos.

        Yields:
            The pairs of each group, in order of users and videos.
        """
        videos = video_id.unique().sort()
        rest = self._rest.filter(pl.col(columns.VIDEO_ID).is_in(videos.implode())).select(_PAIR).collect()
        kept = self._past.kept
        stored = None if kept is None else kept.pairs.over(videos.to_numpy())
        for user_id in user_ids:
            users = user_id.unique().sort()
            if kept is None or stored is None:
                bits = np.zeros((len(users), -(-len(videos) // 8)), dtype=np.uint8)
            else:
                bits = stored.read(kept.pairs.rows_of(users.to_numpy()))
            of_users = rest.filter(pl.col(columns.USER_ID).is_in(users.implode()))
            row, column = (
                ids.search_sorted(of_users[ids.name]).cast(pl.Int64).to_numpy() for ids in (users, videos)
            )
            set_bits(bits, row, column, np.ones(len(row), dtype=np.bool_))
            user, video = np.nonzero(np.unpackbits(bits, axis=1, count=len(videos)))
            yield pl.DataFrame({columns.USER_ID: users[user], columns.VIDEO_ID: videos[video]})

    @cached_property
    def _past(self) -> PastPlays:
        return PastPlays.of(self.settings, self.as_of, self.known_at)

    @property
    def _rest(self) -> pl.LazyFrame:
        return self._of(list(self._past.rest))

    def _of(self, files: list[Path]) -> pl.LazyFrame:
        """The plays in the files of some days."""
        return plays_before(files, self.as_of, self.known_at) if files else self.plays.clear()
