"""Sums of plays on each local day, by user and by video; a later night sums only the new days.

On a cluster the days are split into one piece per core, and each piece is summed by a task.

Sums are of whole numbers (watch_ratio in millionths), so they do not depend on the order in which threads add
them up, and old sums plus new ones are the sums of all. Old sums are used for the days before the first one
whose file has changed. From there on, days whose files have changed are summed again; of the others only the
first plays are counted again, because which play of a pair is the first depends on the days before. A cluster
sums all of these days again.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.cluster import run_all
from nightreel.core.play_days import (
    cut,
    digests_of_days,
    files_by_day,
    in_parts,
    read_days,
    rows_of,
    unchanged_days,
)
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.earlier_pairs import DAYS_BEHIND, EarlierPairs
from pipelines.features.pieces import number_of_pieces
from pipelines.features.recorded_days import recorded_days, write_record
from pipelines.features.seen_pairs import SeenPairs
from pipelines.local_days import INSTANT, end_of_day, ends_of_days

FOLDER = "daily_sums"
PLAYS, LIKED, RATIO, NEW_PAIR = "plays", "liked", "ratio", "new_pair"
RATIO_UNIT = 1_000_000
SETTINGS = {
    "data.time_zone",
    "data.targets.like_threshold",
    "data.targets.long_view_s",
    "data.targets.watch_ratio_clip",
}
_COLUMNS = (
    columns.USER_ID,
    columns.VIDEO_ID,
    columns.EVENT_TIMESTAMP,
    columns.PLAY_DURATION,
    columns.VIDEO_DURATION,
    columns.WATCH_RATIO,
)
_SUMMED = (PLAYS, NEW_PAIR, LIKED, RATIO, columns.PLAY_DURATION)
_PAIR = [columns.USER_ID, columns.VIDEO_ID]


@dataclass(frozen=True)
class DailySums:
    """Sums over the plays of each local day.

    Attributes:
        users, videos: one row per key and local day with a play, sorted; event_timestamp is the day's end.
            Sums, all int64: plays; new_pair (first plays of a user and a video); liked; ratio (watch_ratio in
            millionths); play_duration (ms).
        durations: video_id, event_timestamp, video_duration (ms) of the day's last play.
    """

    users: pl.DataFrame
    videos: pl.DataFrame
    durations: pl.DataFrame

    @classmethod
    def of(cls, plays: pl.DataFrame) -> "DailySums":
        """Sum stamped plays, given in order of time."""
        users, videos = (
            plays.group_by(key, columns.EVENT_TIMESTAMP).agg(pl.col(_SUMMED).cast(pl.Int64).sum())
            for key in _PAIR
        )
        durations = plays.group_by(columns.VIDEO_ID, columns.EVENT_TIMESTAMP).agg(
            pl.col(columns.VIDEO_DURATION).last()
        )
        return cls(users, videos, durations)._sorted()

    @classmethod
    def together(cls, parts: Sequence["DailySums"]) -> "DailySums":
        """The sums of all plays, from those of parts that have no day in common."""
        frames = ((part.users, part.videos, part.durations) for part in parts)
        return cls(*map(pl.concat, zip(*frames, strict=True)))._sorted()

    def _sorted(self) -> "DailySums":
        return DailySums(
            self.users.sort(columns.USER_ID, columns.EVENT_TIMESTAMP),
            self.videos.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
            self.durations.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
        )


def daily_sums(interactions: Path, settings: FeatureNeeds, *, force: bool = False) -> DailySums:
    """The sums of a table of interactions, kept in `data/state/daily_sums` for the next night.

    The sums of days before the first one that has changed are read, not made again.
    """
    folder = settings.paths.state / FOLDER
    decisive = fingerprint(settings=settings.chosen(SETTINGS))
    digests = digests_of_days(interactions)
    files = [*files_of_sums(folder), *SeenPairs.files(folder)]
    known = {} if force else recorded_days(folder, decisive, files)
    kept = unchanged_days(known, digests)
    by_day = files_by_day(interactions)
    days = list(by_day.values())
    before, new = days[: len(kept)], days[len(kept) :]
    pieces = number_of_pieces(rows_of(new), settings.cluster)
    sums = [kept_sums(folder, kept, settings.data)] if kept else []
    earlier = EarlierPairs.read(folder) if kept else EarlierPairs.none()
    if earlier.days > len(before):
        earlier = EarlierPairs.none()
    if kept and len(kept) == len(known):
        seen = SeenPairs.read(folder)
    else:
        seen = earlier.pairs()
        _mark(seen, before[earlier.days :])
    if pieces == 1:
        done = len(before)
        for is_same, some in groupby(list(by_day)[done:], key=lambda day: known.get(day) == digests[day]):
            for paths in in_parts([by_day[day] for day in some]):
                if earlier.days < done <= len(days) - DAYS_BEHIND:
                    earlier = EarlierPairs(done, deepcopy(seen))
                part = dict(list(by_day.items())[done : done + len(paths)])
                sums.append(
                    _counted_again(kept_sums(folder, part, settings.data), part, seen, settings.data)
                    if is_same
                    else _sums_of(paths, seen, settings.data)
                )
                done += len(paths)
    else:
        _mark(seen, new)
        parts = cut(new, pieces)
        starts = [len(before) + sum(map(len, parts[:at])) for at in range(len(parts))]
        tasks = [(days[:start], part, settings.data) for start, part in zip(starts, parts, strict=True)]
        sums += run_all(settings.cluster, _sums_after, tasks)
    if len(days) - earlier.days > 2 * DAYS_BEHIND:
        pairs = earlier.pairs()
        _mark(pairs, days[earlier.days : -DAYS_BEHIND])
        earlier = EarlierPairs(len(days) - DAYS_BEHIND, pairs)
    total = DailySums.together(sums)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        frames = (total.users, total.videos, total.durations)
        for frame, path in zip(frames, files_of_sums(temporary), strict=True):
            frame.write_parquet(path)
        seen.write(temporary)
        earlier.write(temporary)
        write_record(temporary, decisive, digests)
    return total


def _sums_of(paths: list[Path], seen: SeenPairs, settings: DataSettings) -> DailySums:
    """The sums of these days; `seen` has the pairs of all earlier days, and gets those of these days."""
    plays = read_days(paths, _COLUMNS)
    return DailySums.of(_stamped(plays, seen, settings))


def _counted_again(
    kept: DailySums, days: Mapping[date, Path], seen: SeenPairs, settings: DataSettings
) -> DailySums:
    """The kept sums of these days, with their first plays counted again; `seen` as for `_sums_of`."""
    first: dict[str, list[pl.DataFrame]] = {key: [] for key in _PAIR}
    for day, path in days.items():
        pairs = read_days([path], _PAIR)
        is_first = seen.add(pairs[columns.USER_ID], pairs[columns.VIDEO_ID]).cast(pl.Int64).alias(NEW_PAIR)
        stamp = pl.lit(end_of_day(day, settings.zone), dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
        for key, found in first.items():
            counts = pl.DataFrame([pairs[key], is_first]).group_by(key).agg(pl.col(NEW_PAIR).sum())
            found.append(counts.with_columns(stamp))
    users, videos = (
        frame.drop(NEW_PAIR)
        .join(pl.concat(first[key]), on=[key, columns.EVENT_TIMESTAMP], how="left")
        .select(frame.columns)
        for frame, key in ((kept.users, columns.USER_ID), (kept.videos, columns.VIDEO_ID))
    )
    return DailySums(users, videos, kept.durations)


def _sums_after(before: list[Path], paths: list[Path], settings: DataSettings) -> DailySums:
    return _sums_of(paths, _seen(before), settings)


def _seen(paths: list[Path]) -> SeenPairs:
    """The pairs of some days."""
    seen = SeenPairs()
    _mark(seen, paths)
    return seen


def _mark(seen: SeenPairs, paths: list[Path]) -> None:
    """Add the pairs of some days."""
    for part in in_parts(paths) if paths else ():
        pairs = read_days(part, _PAIR)
        seen.mark(pairs[columns.USER_ID], pairs[columns.VIDEO_ID])


def kept_sums(folder: Path, days: Collection[date], settings: DataSettings) -> DailySums:
    """The kept sums of some days.

    Args:
        folder: FOLDER in the home's state, which has them.
        days: some of those that are kept.
    """
    ends = pl.Series([end_of_day(day, settings.zone) for day in days], dtype=INSTANT).implode()
    users, videos, durations = (
        pl.read_parquet(path).filter(pl.col(columns.EVENT_TIMESTAMP).is_in(ends))
        for path in files_of_sums(folder)
    )
    return DailySums(users, videos, durations)


def _stamped(plays: pl.DataFrame, seen: SeenPairs, settings: DataSettings) -> pl.DataFrame:
    """Plays with the values to sum, stamped with the end of their local day.

    Args:
        seen: the pairs of all plays before them, to which theirs are added.
    """
    ratio = pl.col(columns.WATCH_RATIO).cast(pl.Float64)
    return plays.select(
        *_PAIR,
        ends_of_days(plays[columns.EVENT_TIMESTAMP], settings.zone),
        pl.lit(1, dtype=pl.Int64).alias(PLAYS),
        seen.add(plays[columns.USER_ID], plays[columns.VIDEO_ID]).alias(NEW_PAIR),
        is_liked(ratio, settings).alias(LIKED),
        (ratio.clip(0, settings.targets.watch_ratio_clip) * RATIO_UNIT).round().cast(pl.Int32).alias(RATIO),
        columns.PLAY_DURATION,
        columns.VIDEO_DURATION,
    )


def is_liked(ratio: pl.Expr, settings: DataSettings) -> pl.Expr:
    """Whether a play counts as liked: by its watch_ratio, or by how long it lasted."""
    above = ratio > settings.targets.like_threshold
    if settings.targets.long_view_s is None:
        return above
    return above | (pl.col(columns.PLAY_DURATION) >= settings.targets.long_view_s * 1_000)


def files_of_sums(folder: Path) -> list[Path]:
    """The files of the sums below FOLDER."""
    return [folder / f"{name}.parquet" for name in ("users", "videos", "durations")]
