"""The log as one run's outcome needs it: what had happened and was known before it, what was played after."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.play_days import newest_of, require_plays, scan_days, table_exists
from nightreel.core.settings.needs import NightNeeds
from pipelines import model_registry
from pipelines.cold_users import COLD_PLAYS
from pipelines.labels import NO_BUCKETS, RATIO, LengthBuckets, is_liked
from pipelines.local_days import INSTANT
from pipelines.uploads import upload_days
from scoring.lists.popularity import LikedPlays

if TYPE_CHECKING:
    from scoring.outcomes.before import Before

_PAIR = (columns.USER_ID, columns.VIDEO_ID)
_STAMP = pl.col(columns.EVENT_TIMESTAMP)
LIKED: Final = "liked"
PLAYED: Final = "played"
SHOWN: Final = "shown"
_POSITION = "position"
# Users times videos whose bits are looked at together.
_CELLS_AT_A_TIME = 100_000_000
NEW, COLD, WARM = "new", "cold", "warm"


@dataclass(frozen=True)
class Log:
    """The validated plays and the videos' days of one home."""

    settings: NightNeeds

    @property
    def exists(self) -> bool:
        """Whether there are plays to count."""
        return table_exists(self.settings.paths.interactions)

    @cached_property
    def plays(self) -> pl.LazyFrame:
        """All plays."""
        return scan_days(self.settings.paths.interactions)

    @cached_property
    def newest(self) -> datetime | None:
        """When the newest play happened (UTC)."""
        return newest_of(require_plays(self.settings.paths.interactions), columns.EVENT_TIMESTAMP)

    def within(self, spans: Sequence[tuple[datetime, datetime]]) -> pl.DataFrame:
        """The plays in these spans, each from its first instant to before its last."""
        is_in = pl.any_horizontal(*((_at(start) <= _STAMP) & (_at(end) > _STAMP) for start, end in spans))
        names = [
            *_PAIR,
            columns.EVENT_TIMESTAMP,
            columns.WATCH_RATIO,
            columns.VIDEO_DURATION,
            columns.PLAY_DURATION,
        ]
        return self.plays.filter(is_in).select(names).collect()

    def buckets(self, model_version: str, before: "Before") -> LengthBuckets:
        """The length buckets that define a liked play: those of the run's model, or fitted if it is gone."""
        if self.settings.data.targets.label == RATIO:
            return NO_BUCKETS
        try:
            return LengthBuckets.load(model_registry.find(self.settings.paths, model_version).folder)
        except (InputError, OSError):
            known = before.plays.select(columns.WATCH_RATIO, columns.VIDEO_DURATION).collect()
            return LengthBuckets.fit(*(known[name].to_numpy() for name in known.columns))

    def pairs(self, plays: pl.DataFrame, buckets: LengthBuckets) -> pl.DataFrame:
        """Each played pair: user_id, video_id, liked, and watch_ms over all its plays."""
        ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
        liked = is_liked(self.settings.data.targets.label, buckets, ratio, length, self.settings.data)
        return (
            plays.with_columns(pl.Series(LIKED, liked))
            .group_by(_PAIR)
            .agg(pl.col(LIKED).any(), pl.col(columns.PLAY_DURATION).cast(pl.Int64).sum().alias("watch_ms"))
        )

    def segments(self, users: pl.DataFrame, before: "Before") -> pl.DataFrame:
        """Each user's segment by plays so far: new (none), cold (fewer than COLD_PLAYS) or warm."""
        n = pl.col("n").fill_null(0)
        segment = pl.when(n == 0).then(pl.lit(NEW)).when(n < COLD_PLAYS).then(pl.lit(COLD))
        known = users.join(before.plays_of_users(), on=columns.USER_ID, how="left")
        return known.select(columns.USER_ID, segment.otherwise(pl.lit(WARM)).alias("segment"))

    def videos_known(self, before: "Before", as_of: datetime) -> int:
        """Number of videos that had been played, or had a daily record, by then."""
        parts = [before.video_ids().lazy()]
        daily = self.settings.paths.video_daily
        if table_exists(daily):
            today = as_of.astimezone(self.settings.data.zone).date()
            days = scan_days(daily).filter(pl.col(columns.LOCAL_DATE) < today)
            parts.append(days.select(pl.col(columns.VIDEO_ID).cast(pl.Int64)))
        return int(pl.concat(parts).select(pl.col(columns.VIDEO_ID).n_unique()).collect().item())

    def age_days(self, as_of: datetime) -> pl.DataFrame:
        """video_id and days since its upload at an instant, for videos with a known upload day."""
        today = as_of.astimezone(self.settings.data.zone).date()
        age = (pl.lit(today) - pl.col(columns.UPLOAD_DATE)).dt.total_days().alias("age_days")
        return upload_days(self.settings.paths).select(columns.VIDEO_ID, age).collect()

    def popular_ranks(
        self, pairs: pl.DataFrame, before: "Before", as_of: datetime, buckets: LengthBuckets
    ) -> pl.DataFrame:
        """The ranks that the pairs would have had in lists of the last day's most liked videos.

        Such a list leaves out what its user has seen, if the settings say so for lists; ties go to the
        smaller video_id.

        Returns:
            user_id, liked, rank (from 1) of the pairs that would have been listed.
        """
        order = self._popular_order(before, as_of, buckets)
        asked = pairs.join(order, on=columns.VIDEO_ID).select(*_PAIR, LIKED, _POSITION)
        users = asked[columns.USER_ID].unique().sort()
        at_a_time = max(1, _CELLS_AT_A_TIME // max(1, order.height))
        groups = [users[start : start + at_a_time] for start in range(0, max(1, len(users)), at_a_time)]
        seen = self._seen(groups, order, before, as_of)
        return pl.concat(
            _ranks(
                asked.filter(pl.col(columns.USER_ID).is_in(group.implode())),
                seen_pairs.join(order, on=columns.VIDEO_ID),
            )
            for group, seen_pairs in zip(groups, seen, strict=True)
        )

    def _popular_order(self, before: "Before", as_of: datetime, buckets: LengthBuckets) -> pl.DataFrame:
        """video_id and position from 0 of the videos liked on the log's last day before an instant."""
        newest = before.newest()
        empty = pl.DataFrame(schema={columns.VIDEO_ID: pl.Int64, _POSITION: pl.Int64})
        if newest is None:
            return empty
        # The last day that had ended may be the one before that of the newest play.
        names = [columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.WATCH_RATIO, columns.VIDEO_DURATION]
        last = before.plays.filter(_at(newest - timedelta(days=3)) <= _STAMP).select(names).collect()
        liked = LikedPlays.count(last, self.settings.data, buckets)
        value = liked.of_last(1, as_of)
        order = np.argsort(-value, kind="stable")
        order = order[value[order] > 0]
        found = {columns.VIDEO_ID: liked.video_id[order], _POSITION: np.arange(len(order), dtype=np.int64)}
        return pl.DataFrame(found, schema=empty.schema)

    def _seen(
        self, groups: Sequence[pl.Series], order: pl.DataFrame, before: "Before", as_of: datetime
    ) -> Iterator[pl.DataFrame]:
        """For each group of users, user_id, video_id of what their lists leave out, once each."""
        days = self.settings.lists.exclude.seen_days
        if not self.settings.lists.exclude.seen:
            yield from (pl.DataFrame(schema=dict.fromkeys(_PAIR, pl.Int64)) for _ in groups)
        elif days is None:
            yield from before.pairs_of(groups, order[columns.VIDEO_ID])
        else:
            is_recent = _at(as_of - timedelta(days=days)) <= _STAMP
            is_ordered = pl.col(columns.VIDEO_ID).is_in(order[columns.VIDEO_ID].implode())
            recent = before.plays.filter(is_recent, is_ordered).select(_PAIR).collect()
            for group in groups:
                yield recent.filter(pl.col(columns.USER_ID).is_in(group.implode())).unique()


def _ranks(asked: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """user_id, liked, rank of the pairs that are not seen.

    Args:
        asked: user_id, video_id, liked, position.
        seen: user_id, video_id, position of all that some users' lists leave out.
    """
    asked = asked.join(seen, on=list(_PAIR), how="anti")
    both = pl.concat(
        [
            asked.select(columns.USER_ID, _POSITION, LIKED, pl.lit(0).alias("is_seen")),
            seen.select(columns.USER_ID, _POSITION, pl.lit(False).alias(LIKED), pl.lit(1).alias("is_seen")),
        ]
    ).sort(columns.USER_ID, _POSITION)
    seen_before = pl.col("is_seen").cum_sum().over(columns.USER_ID)
    ranked = both.with_columns((pl.col(_POSITION) + 1 - seen_before).alias(columns.RANK))
    return ranked.filter(pl.col("is_seen") == 0).select(columns.USER_ID, LIKED, columns.RANK)


def _at(instant: datetime) -> pl.Expr:
    return pl.lit(instant, dtype=INSTANT)
