"""Plays before a run; of days whose pairs and counts are kept by the features, the log is not read."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import require_plays
from nightreel.core.settings.needs import LogNeeds
from pipelines.features.daily_sums import PLAYS
from pipelines.features.past_plays import PastPlays
from pipelines.known import newest_play, plays_before

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

    def pairs_of(self, user_id: pl.Series, video_id: pl.Series) -> pl.DataFrame:
        """user_id, video_id of those of these users and videos that had been played, once each."""
        users, videos = user_id.unique().sort(), video_id.unique().sort()
        rest = self._rest.select(_PAIR).filter(
            pl.col(columns.USER_ID).is_in(users.implode()), pl.col(columns.VIDEO_ID).is_in(videos.implode())
        )
        found = [rest.collect()]
        if self._past.kept is not None:
            pairs = self._past.kept.pairs
            bits = pairs.over(videos.to_numpy()).read(pairs.rows_of(users.to_numpy()))
            user, video = np.nonzero(np.unpackbits(bits, axis=1, count=len(videos)))
            found.append(pl.DataFrame({columns.USER_ID: users[user], columns.VIDEO_ID: videos[video]}))
        return pl.concat(found).unique()

    @cached_property
    def _past(self) -> PastPlays:
        return PastPlays.of(self.settings, self.as_of, self.known_at)

    @property
    def _rest(self) -> pl.LazyFrame:
        return self._of(list(self._past.rest))

    def _of(self, files: list[Path]) -> pl.LazyFrame:
        """The plays in the files of some days."""
        return plays_before(files, self.as_of, self.known_at) if files else self.plays.clear()
