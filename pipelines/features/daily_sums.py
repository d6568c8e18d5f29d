"""Sums of plays on each local day, by user and by video; a later night sums only the new days.

If it brings nothing but new days, it reads no sums of earlier days: their totals are kept, too.

On a cluster the days are split into one piece per core, and each piece is summed by a task. Which plays are
the first of their pair is found afterwards, for some users at a time (`seen_pairs`).

Old sums plus those of new plays are the sums of all. A late play may also change which play of its pair was
the first. If a day has lost plays, all days are summed again from the first one that has changed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.checksums import require_as_written
from nightreel.core.cluster import run_all
from nightreel.core.play_days import (
    digests_of_days,
    in_parts,
    read_days,
    rows_of,
    unchanged_days,
)
from nightreel.core.settings import ClusterSettings, DataSettings
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.earlier_pairs import DAYS_BEHIND, EarlierPairs, folder_of_earlier
from pipelines.features.first_days import FIRST_DAY, moved_first_days
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.pieces import number_of_pieces
from pipelines.features.recorded_days import only_later_days, recorded_days, write_record
from pipelines.features.seen_pairs import DAY, PAIR, AddedPlays, NewPlays, add_plays
from pipelines.features.source_rows import is_source_of, note_source, write_rows_from
from pipelines.features.stored_pairs import StoredPairs, files_of_pairs
from pipelines.features.sums_of_days import NEW_PAIR, PLAYS, READ, SUMMED, DailySums, stamped
from pipelines.features.totals import Totals
from pipelines.local_days import INSTANT, end_of_day, ends_of_dates

FOLDER = "daily_sums"
SETTINGS = {
    "data.time_zone",
    "data.targets.like_threshold",
    "data.targets.long_view_s",
    "data.targets.watch_ratio_clip",
}


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
    files = [*files_of_sums(folder), *files_of_pairs(folder), *Totals.files(folder)]
    known = {} if force else recorded_days(folder, decisive, files)
    gained, digests = GainedPlays.since(known, interactions), digests_of_days(interactions)
    goes_on = bool(gained.days) and only_later_days(known, digests)
    goes_on &= all(is_source_of(folder, path, frame) for path, frame in sources)
    before = Totals.read(folder) if goes_on else None
    start = end_of_day(gained.days[0], settings.data.zone) if goes_on else None
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        if goes_on:
            sums = _of_new_days(gained, settings, temporary)
        elif not known or gained.lost:
            sums = _from_first_change(interactions, known, settings, temporary)
        else:
            sums = _corrected(gained, settings, temporary)
        totals = Totals.of(sums.users, sums.videos, sums.durations)
        totals = totals if before is None else before.plus(totals)
        frames = (sums.users, sums.videos, sums.durations)
        for frame, kept, path in zip(frames, files_of_sums(folder), files_of_sums(temporary), strict=True):
            write_rows_from(kept, start, [frame], path)
        totals.write(temporary)
        write_record(temporary, decisive, digests)
    return SumsSoFar(sums, before, totals, start)


def note_sources(sources: Iterable[Path], settings: FeatureNeeds) -> None:
    """Note that these sources have been made from the sums that are kept."""
    for source in sources:
        note_source(settings.paths.state / FOLDER, source)


def _of_new_days(gained: GainedPlays, settings: FeatureNeeds, out: Path) -> DailySums:
    """The sums of days after all that are recorded.

    Args:
        out: where the pairs are written, those of earlier days too.
    """
    folder, cluster = settings.paths.state / FOLDER, settings.cluster
    pairs = StoredPairs(folder)
    parts = run_all(cluster, _sums_of_gained, [(gained, day, settings.data) for day in gained.days])
    ids = _ids(parts, pairs)
    added = add_plays(out, pairs, NewPlays(gained, tuple(gained.days)), *ids, cluster=cluster)
    _keep_earlier(EarlierPairs.read(folder), gained, ids, cluster, out)
    return DailySums.together(parts).with_first_plays(added, settings.data)


def _from_first_change(
    interactions: Path, known: Mapping[date, str], settings: FeatureNeeds, out: Path
) -> DailySums:
    """The sums, of which those of the first day that differs and of all later days are made from the plays.

    Args:
        known: the digests of the days whose sums are kept.
        out: where the pairs are written, those of earlier days too.
    """
    folder, cluster = settings.paths.state / FOLDER, settings.cluster
    kept = unchanged_days(known, digests_of_days(interactions))
    log = GainedPlays.since({}, interactions)
    before, new = log.days[: len(kept)], log.days[len(kept) :]
    earlier = EarlierPairs.read(folder) if kept else EarlierPairs()
    if earlier.days > len(before):
        earlier = EarlierPairs()
    files = [log.files[day] for day in new]
    parts = in_parts(files, at_least=number_of_pieces(rows_of(files), cluster))
    made = run_all(cluster, _sums_of, [(part, settings.data) for part in parts])
    require_as_written(log.files[day] for day in before[earlier.days :])
    sums = [kept_sums(folder, kept, settings.data)] if kept else []
    ids = _ids([*sums, *made])
    added = []
    borders = sorted({earlier.days, max(earlier.days, len(log.days) - DAYS_BEHIND)})
    if len(borders) > 1:
        own = folder_of_earlier(out)
        own.mkdir()
        plays = NewPlays(log, tuple(log.days[slice(*borders)]))
        added.append(add_plays(own, earlier.pairs(), plays, *ids, cluster=cluster))
        earlier = EarlierPairs(borders[-1], own)
    plays = NewPlays(log, tuple(log.days[borders[-1] :]))
    added.append(add_plays(out, earlier.pairs(), plays, *ids, cluster=cluster))
    earlier.keep_in(out)
    if made:
        first_plays = AddedPlays.together(added).since(new[0])
        sums.append(DailySums.together(made).with_first_plays(first_plays, settings.data))
    return DailySums.together(sums)


def _corrected(gained: GainedPlays, settings: FeatureNeeds, out: Path) -> DailySums:
    """The kept sums, with what the days have gained since.

    Args:
        out: where the pairs are written, those of earlier days too.
    """
    folder, cluster = settings.paths.state / FOLDER, settings.cluster
    kept = kept_sums(folder, gained.known, settings.data)
    earlier, recorded = EarlierPairs.read(folder), sorted(gained.known)
    days = gained.days
    parts = run_all(cluster, _sums_of_gained, [(gained, day, settings.data) for day in days])
    ids = _ids([kept, *parts])
    plays = NewPlays(gained, tuple(days), repeats_before=recorded[-1])
    added = add_plays(out, StoredPairs(folder), plays, *ids, cluster=cluster)
    changes, lengths = [], [kept.durations]
    for day, part in zip(days, parts, strict=True):
        of_day = part.durations
        if day in gained.known:
            # The last play of the day may be a late one.
            of_day = _durations(day, gained, of_day[columns.VIDEO_ID], settings.data)
        lengths.append(of_day)
    if parts:
        sums = DailySums.together(parts).with_first_plays(added, settings.data)
        changes.append((sums.users, sums.videos))
    if added.repeats.height:
        moved = moved_first_days(added.repeats, gained, earlier)
        changes += _changes_of_first(moved, settings.data)
    _keep_earlier(earlier, gained, ids, cluster, out)
    users, videos = (
        _plus(frame, key, [change[at] for change in changes])
        for at, (frame, key) in enumerate(zip((kept.users, kept.videos), PAIR, strict=True))
    )
    of_days = [columns.VIDEO_ID, columns.EVENT_TIMESTAMP]
    durations = pl.concat(lengths).unique(of_days, keep="last", maintain_order=True).sort(of_days)
    return DailySums(users, videos, durations)


def _keep_earlier(
    earlier: EarlierPairs,
    gained: GainedPlays,
    ids: tuple[np.ndarray, np.ndarray],
    cluster: ClusterSettings,
    out: Path,
) -> None:
    """Keep the pairs of earlier days, with their late plays; of more days if they are far behind."""
    all_days, recorded = list(gained.files), sorted(gained.known)
    covered = recorded[earlier.days - 1] if earlier.days else None
    until = {day: gained.until[day] for day in gained.until if covered is not None and day <= covered}
    of_covered = [day for day in gained.days if covered is not None and day <= covered]
    number = 0 if covered is None else sum(day <= covered for day in all_days)
    end = len(all_days) - DAYS_BEHIND if len(all_days) - number > 2 * DAYS_BEHIND else number
    days = (*of_covered, *all_days[number:end])
    if days:
        require_as_written(gained.files[day] for day in days if day not in gained.days)
        own = folder_of_earlier(out)
        own.mkdir()
        # Of the days that were not covered, all plays.
        plays = NewPlays(replace(gained, until=until), days)
        add_plays(own, earlier.pairs(), plays, *ids, cluster=cluster)
        earlier = EarlierPairs(end, own)
    EarlierPairs(end, earlier.folder).keep_in(out)


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
        sums = [pl.lit(change if one == NEW_PAIR else 0, dtype=pl.Int64).alias(one) for one in SUMMED]
        rows = moved.select(*PAIR, stamps.alias(columns.EVENT_TIMESTAMP), *sums)
        found.append((rows.drop(columns.VIDEO_ID), rows.drop(columns.USER_ID)))
    return found


def _plus(kept: pl.DataFrame, key: str, changes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Kept sums of users or videos, and what is to be added to them."""
    by = [key, columns.EVENT_TIMESTAMP]
    added = pl.concat([kept.clear(), *(change.select(kept.columns) for change in changes)])
    is_changed = pl.col(columns.EVENT_TIMESTAMP).is_in(added[columns.EVENT_TIMESTAMP].unique().implode())
    changed = pl.concat([kept.filter(is_changed), added]).group_by(by).agg(pl.col(SUMMED).sum())
    return pl.concat([kept.filter(~is_changed), changed.select(kept.columns)]).sort(by)


def _sums_of(paths: list[Path], settings: DataSettings) -> DailySums:
    """The sums of these days, without first plays."""
    return DailySums.of(stamped(read_days(paths, READ), settings))


def _sums_of_gained(gained: GainedPlays, day: date, settings: DataSettings) -> DailySums:
    """The sums of the plays that a day has gained, without first plays."""
    return DailySums.of(stamped(gained.new(day, READ), settings))


def _ids(sums: Sequence[DailySums], pairs: StoredPairs | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All users and all videos that have sums or, already, bits: int64, ascending."""
    users = [one.users[columns.USER_ID].unique() for one in sums]
    videos = [one.videos[columns.VIDEO_ID].unique() for one in sums]
    if pairs is not None:
        users.append(pl.Series(pairs.user_ids))
        videos.append(pl.Series(pairs.video_ids))
    return pl.concat(users).unique().sort().to_numpy(), pl.concat(videos).unique().sort().to_numpy()


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


def files_of_sums(folder: Path) -> list[Path]:
    """The files of the sums below FOLDER."""
    return [folder / f"{name}.parquet" for name in ("users", "videos", "durations")]
