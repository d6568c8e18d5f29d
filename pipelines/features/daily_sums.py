"""Sums of plays on each local day, by user and by video; a later night sums only the new days.

If it brings nothing but new days, it reads no sums of earlier days: their totals are kept, too.

On a cluster the days are split into one piece per core, and each piece is summed by a task.

Sums are of whole numbers (watch_ratio in millionths), so they do not depend on the order in which threads add
them up, and old sums plus those of new plays are the sums of all. A late play may also change which play of
its pair was the first. If a day has lost plays, or on a cluster, all days are summed again from the first one
that has changed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.checksums import require_as_written
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
from pipelines.features.first_days import DAY, FIRST_DAY, moved_first_days
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.pieces import number_of_pieces
from pipelines.features.recorded_days import only_later_days, recorded_days, write_record
from pipelines.features.seen_pairs import SeenPairs
from pipelines.features.source_rows import is_source_of, note_source, write_rows, write_rows_from
from pipelines.features.totals import Totals
from pipelines.id_codes import codes_of
from pipelines.local_days import INSTANT, end_of_day, ends_of_dates, ends_of_days

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
        # A day's plays are neighbours.
        day = plays[columns.EVENT_TIMESTAMP].rle_id().to_numpy()
        ends = plays[columns.EVENT_TIMESTAMP].unique(maintain_order=True)
        (users, _), (videos, play) = (_by_day(plays, key, day, ends) for key in _PAIR)
        durations = videos.select(columns.VIDEO_ID, columns.EVENT_TIMESTAMP).with_columns(
            plays[columns.VIDEO_DURATION].gather(play)
        )
        return cls(users, videos, durations)

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


def _by_day(
    plays: pl.DataFrame, key: str, day: np.ndarray, ends: pl.Series
) -> tuple[pl.DataFrame, np.ndarray]:
    """Sums by key and day, in this order, and the index of the last play of each.

    Args:
        day: of each play, its index in `ends`.
    """
    ids, code = codes_of(plays[key])
    # Sums of whole numbers are exact in float64, far beyond what a day has.
    cells, cell = codes_of(pl.Series(code * len(ends) + day))
    last = np.empty(len(cells), dtype=np.int64)
    last[cell] = np.arange(len(cell))
    sums = {
        name: np.bincount(cell, plays[name].cast(pl.Float64).fill_null(0).to_numpy(), len(cells))
        for name in _SUMMED
    }
    found = {key: ids[cells // len(ends)], columns.EVENT_TIMESTAMP: ends.gather(cells % len(ends))}
    return pl.DataFrame(found | {name: of_name.astype(np.int64) for name, of_name in sums.items()}), last


@dataclass(frozen=True)
class SumsSoFar:
    """What the sources of a night are made from.

    Attributes:
        sums: of the days that end at `start` or later.
        before, totals: of the days before, and of all days.
        start: rows of the sources before it stay as they are; None, like `before`, if the sums are of all
            days.
    """

    sums: DailySums
    before: Totals | None
    totals: Totals
    start: datetime | None


def daily_sums(
    interactions: Path,
    settings: FeatureNeeds,
    sources: Sequence[tuple[Path, pl.DataFrame]],
    *,
    force: bool = False,
) -> SumsSoFar:
    """The sums of a table of interactions, kept in `data/state/daily_sums` for the next night.

    Kept sums are read, and corrected for the plays that came since, not made again.

    Args:
        sources: the sources that are made from them, each with its columns. If they are those that
            `note_sources` noted, and all new plays are of later days, the sums are of these days alone.
    """
    folder = settings.paths.state / FOLDER
    decisive = fingerprint(settings=settings.chosen(SETTINGS))
    files = [*files_of_sums(folder), *SeenPairs.files(folder), *Totals.files(folder)]
    known = {} if force else recorded_days(folder, decisive, files)
    gained, digests = GainedPlays.since(known, interactions), digests_of_days(interactions)
    is_split = number_of_pieces(gained.rows_at_most, settings.cluster) > 1
    goes_on = bool(gained.days) and only_later_days(known, digests)
    goes_on &= not is_split and all(is_source_of(folder, path, frame) for path, frame in sources)
    if goes_on:
        sums, seen, earlier = _of_new_days(gained, settings)
    elif not known or gained.lost or is_split:
        sums, seen, earlier = _from_first_change(interactions, known, settings)
    else:
        sums, seen, earlier = _corrected(gained, settings)
    days = list(files_by_day(interactions).values())
    if len(days) - earlier.days > 2 * DAYS_BEHIND:
        pairs = earlier.pairs()
        _mark(pairs, days[earlier.days : -DAYS_BEHIND])
        earlier = EarlierPairs(len(days) - DAYS_BEHIND, pairs)
    before = Totals.read(folder) if goes_on else None
    totals = Totals.of(sums.users, sums.videos, sums.durations)
    totals = totals if before is None else before.plus(totals)
    start = end_of_day(gained.days[0], settings.data.zone) if goes_on else None
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        frames = (sums.users, sums.videos, sums.durations)
        for frame, kept, path in zip(frames, files_of_sums(folder), files_of_sums(temporary), strict=True):
            if start is None:
                write_rows([frame], path)
            else:
                write_rows_from(kept, start, [frame], path)
        totals.write(temporary)
        seen.write(temporary)
        earlier.write(temporary)
        write_record(temporary, decisive, digests)
    return SumsSoFar(sums, before, totals, start)


def note_sources(sources: Iterable[Path], settings: FeatureNeeds) -> None:
    """Note that these sources have been made from the sums that are kept."""
    for source in sources:
        note_source(settings.paths.state / FOLDER, source)


def _of_new_days(gained: GainedPlays, settings: FeatureNeeds) -> tuple[DailySums, SeenPairs, EarlierPairs]:
    """The sums of days after all that are recorded."""
    folder = settings.paths.state / FOLDER
    seen, earlier = SeenPairs.read(folder), EarlierPairs.read(folder)
    plays = (gained.new(day, _COLUMNS) for day in gained.days)
    return (
        DailySums.together([DailySums.of(_stamped(part, seen, settings.data)) for part in plays]),
        seen,
        earlier,
    )


def _from_first_change(
    interactions: Path, known: Mapping[date, str], settings: FeatureNeeds
) -> tuple[DailySums, SeenPairs, EarlierPairs]:
    """The sums, of which those of the first day that differs and of all later days are made from the plays.

    Args:
        known: the digests of the days whose sums are kept.
    """
    folder = settings.paths.state / FOLDER
    kept = unchanged_days(known, digests_of_days(interactions))
    days = list(files_by_day(interactions).values())
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
    parts = in_parts(new) if pieces == 1 else cut(new, pieces)
    starts = [len(before) + sum(map(len, parts[:at])) for at in range(len(parts))]
    if pieces == 1:
        last = max((start for start in starts if start <= len(days) - DAYS_BEHIND), default=0)
        for start, paths in zip(starts, parts, strict=True):
            if start == last > earlier.days:
                earlier = EarlierPairs(start, deepcopy(seen))
            sums.append(_sums_of(paths, seen, settings.data))
    else:
        _mark(seen, new)
        tasks = [(days[:start], part, settings.data) for start, part in zip(starts, parts, strict=True)]
        sums += run_all(settings.cluster, _sums_after, tasks)
    return DailySums.together(sums), seen, earlier


def _corrected(gained: GainedPlays, settings: FeatureNeeds) -> tuple[DailySums, SeenPairs, EarlierPairs]:
    """The kept sums, with what the days have gained since."""
    folder = settings.paths.state / FOLDER
    kept = kept_sums(folder, gained.known, settings.data)
    seen, earlier = SeenPairs.read(folder), EarlierPairs.read(folder)
    recorded = sorted(gained.known)
    covered = recorded[earlier.days - 1] if earlier.days else None
    parts, repeated, of_covered, lengths = [], [], [], [kept.durations]
    for day in gained.days:
        plays = gained.new(day, _COLUMNS)
        stamped = _stamped(plays, seen, settings.data)
        part = DailySums.of(stamped)
        parts.append(part)
        if day in gained.known:
            # The last play of the day may be a late one.
            lengths.append(_durations(day, gained, plays[columns.VIDEO_ID].unique(), settings.data))
        else:
            lengths.append(part.durations)
        if day < recorded[-1]:
            repeats = stamped.filter(~pl.col(NEW_PAIR)).select(*_PAIR, pl.lit(day).alias(DAY))
            repeated.append(repeats)
        if covered is not None and day <= covered:
            of_covered.append(plays)
    changes = [(part.users, part.videos) for part in parts]
    if repeated:
        moved = moved_first_days(pl.concat(repeated), gained, earlier)
        changes += _changes_of_first(moved, settings.data)
    if covered is not None and of_covered:
        pairs = earlier.pairs()
        for plays in of_covered:
            pairs.mark(plays[columns.USER_ID], plays[columns.VIDEO_ID])
        earlier = EarlierPairs(sum(day <= covered for day in gained.files), pairs)
    users, videos = (
        _plus(frame, key, [change[at] for change in changes])
        for at, (frame, key) in enumerate(zip((kept.users, kept.videos), _PAIR, strict=True))
    )
    of_days = [columns.VIDEO_ID, columns.EVENT_TIMESTAMP]
    durations = pl.concat(lengths).unique(of_days, keep="last", maintain_order=True).sort(of_days)
    return DailySums(users, videos, durations), seen, earlier


def _durations(day: date, gained: GainedPlays, videos: pl.Series, settings: DataSettings) -> pl.DataFrame:
    """`durations` of some videos on a day, from all of its plays."""
    require_as_written([gained.files[day]])
    plays = pl.scan_parquet(gained.files[day], hive_partitioning=False)
    of_videos = plays.filter(pl.col(columns.VIDEO_ID).is_in(videos.implode()))
    lengths = of_videos.select(columns.VIDEO_ID, columns.VIDEO_DURATION).collect()
    stamp = pl.lit(end_of_day(day, settings.zone), dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
    last = lengths.unique(columns.VIDEO_ID, keep="last", maintain_order=True)
    return last.select(columns.VIDEO_ID, stamp, columns.VIDEO_DURATION)


def _changes_of_first(moved: pl.DataFrame, settings: DataSettings) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """For users and for videos the sums that move each pair's first play to another day.

    Args:
        moved: as `moved_first_days` gives it.
    """
    found = []
    for name, change in ((DAY, 1), (FIRST_DAY, -1)):
        stamps = ends_of_dates(moved[name], settings.zone)
        sums = [pl.lit(change if one == NEW_PAIR else 0, dtype=pl.Int64).alias(one) for one in _SUMMED]
        rows = moved.select(*_PAIR, stamps.alias(columns.EVENT_TIMESTAMP), *sums)
        found.append((rows.drop(columns.VIDEO_ID), rows.drop(columns.USER_ID)))
    return found


def _plus(kept: pl.DataFrame, key: str, changes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Kept sums of users or videos, and what is to be added to them."""
    by = [key, columns.EVENT_TIMESTAMP]
    added = pl.concat([kept.clear(), *(change.select(kept.columns) for change in changes)])
    is_changed = pl.col(columns.EVENT_TIMESTAMP).is_in(added[columns.EVENT_TIMESTAMP].unique().implode())
    changed = pl.concat([kept.filter(is_changed), added]).group_by(by).agg(pl.col(_SUMMED).sum())
    return pl.concat([kept.filter(~is_changed), changed.select(kept.columns)]).sort(by)


def _sums_of(paths: list[Path], seen: SeenPairs, settings: DataSettings) -> DailySums:
    """The sums of these days; `seen` has the pairs of all earlier days, and gets those of these days."""
    plays = read_days(paths, _COLUMNS)
    return DailySums.of(_stamped(plays, seen, settings))


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
    users, videos, durations = (_of_days(path, days, settings).collect() for path in files_of_sums(folder))
    return DailySums(users, videos, durations)


def plays_of_users(folder: Path, days: Collection[date], settings: DataSettings) -> pl.DataFrame:
    """user_id and the number of its `plays` on some of the days whose sums are kept."""
    users = _of_days(files_of_sums(folder)[0], days, settings)
    return users.group_by(columns.USER_ID).agg(pl.col(PLAYS).sum()).collect()


def _of_days(path: Path, days: Collection[date], settings: DataSettings) -> pl.LazyFrame:
    ends = pl.Series([end_of_day(day, settings.zone) for day in days], dtype=INSTANT).implode()
    return pl.scan_parquet(path).filter(pl.col(columns.EVENT_TIMESTAMP).is_in(ends))


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
