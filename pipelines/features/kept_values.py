"""Sources of views whose values of a day depend on that day's rows alone: a night reads what has changed.

The values of each day are a file. Those of all but the last days, which a new row's windows may reach, are
also kept together, one row for each key. So a night that only brings new days opens the files of the last
days alone, and its rows follow those of the night before.
"""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, carry_over
from nightreel.core.catalogue import View
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.checksums import is_usable
from nightreel.core.play_days import digests_of_days, files_by_day, in_parts
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.expressed_plays import ExpressedPlays, roots_of
from pipelines.features.expressed_records import expressed_records
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.over_days import (
    from_values_of_days,
    is_of_single_days,
    longest_window_days,
    so_far,
    values_of_days,
    without_rows,
)
from pipelines.features.points import VISIBLE
from pipelines.features.recorded_days import recorded_days, write_record
from pipelines.features.source_rows import is_source_of, note_source, write_source
from pipelines.local_days import INSTANT, start_of_day

_SO_FAR = "so_far.parquet"
_DAY = timedelta(days=1)


def can_be_kept(view: View) -> bool:
    """Whether the values of a day depend on that day's rows alone, and not on facts about videos."""
    groups = {group.join_key for group in GROUPS}
    has_days = view.features[0].table in ("plays", "video_daily")
    return has_days and is_of_single_days(view) and groups.isdisjoint({*roots_of(view), *view.join_keys})


def write_kept(view: View, settings: FeatureNeeds, decisive: str, *, force: bool) -> int:
    """Write the source of a view, and keep its values for another night; returns the source's rows.

    Args:
        decisive: a digest of what decides the values besides the table; if it has changed, all days are read.
    """
    path, zone = settings.paths.feature_source(view.name), settings.data.zone
    folder = settings.paths.state / "values_of_days" / view.name
    digests = digests_of_days(_table_of(view, settings))
    known = {} if force else recorded_days(folder, decisive, [folder / _SO_FAR])
    if not known.keys() <= digests.keys():
        known = {}
    changed = {day for day, digest in digests.items() if known.get(day) != digest}
    goes_on = bool(known) and is_source_of(folder, path, without_rows(view))
    if goes_on and not changed:
        return int(pq.read_metadata(path).num_rows)
    start = min(changed) + _DAY if goes_on else None
    kept, damaged = _kept_files(view, folder, known, changed, start)
    found = _values_of_days(changed | damaged, view, settings, known, folder)
    values = pl.concat([*map(pl.read_parquet, kept), *found.values()]).sort(*view.join_keys, VISIBLE)
    rows = from_values_of_days(values, view, zone).sort(columns.EVENT_TIMESTAMP, maintain_order=True)
    instant = None if start is None else start_of_day(start, zone)
    if instant is not None:
        rows = rows.filter(pl.col(columns.EVENT_TIMESTAMP) >= pl.lit(instant, dtype=INSTANT))
    written = write_source(path, instant, [rows], settings.paths)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        so_far(values, view, _summed_until(digests, view)).write_parquet(temporary / _SO_FAR)
        _file_of(temporary, date.min).parent.mkdir()
        for day in digests:
            if day in found:
                found[day].write_parquet(_file_of(temporary, day))
            else:
                carry_over(_file_of(folder, day), _file_of(temporary, day))
        write_record(temporary, decisive, digests)
        note_source(temporary, path)
    return written


def _kept_files(
    view: View, folder: Path, known: Collection[date], changed: Collection[date], start: date | None
) -> tuple[list[Path], set[date]]:
    """The files with the kept values that rows are made of, and the days whose file is lost or damaged.

    Args:
        known: the days whose values are kept.
        changed: the days whose kept values do not count.
        start: rows are made that become visible from then on; None for all rows.
    """
    same = [day for day in known if day not in changed]
    lost = {day for day in same if not _file_of(folder, day).is_file()}
    files = []
    if start is not None and _summed_until(known, view) < start - _reach(view):
        files.append(folder / _SO_FAR)
        same = [day for day in same if day + _DAY > _summed_until(known, view)]
    damaged = lost | {day for day in same if day not in lost and not is_usable(_file_of(folder, day))}
    return [*files, *(_file_of(folder, day) for day in same if day not in damaged)], damaged


def _summed_until(days: Collection[date], view: View) -> date:
    """Values that become visible by then are kept together, if the values of these days are kept."""
    return max(days) + _DAY - _reach(view)


def _reach(view: View) -> timedelta:
    """On how many days before the first new row's it depends, those apart that are summed.

    It is left out if it repeats the key's row before. There is one on the day before the first new row's,
    when the last summed day leaves the longest window, and its windows have no summed day.
    """
    return timedelta(days=longest_window_days(view))


def _values_of_days(
    days: Collection[date], view: View, settings: FeatureNeeds, known: Mapping[date, str], folder: Path
) -> dict[date, pl.DataFrame]:
    """The values of some days from their rows, in order of the keys.

    Args:
        known: the digests of the days whose values are in the folder.
    """
    files, found = files_by_day(_table_of(view, settings)), {}
    if view.features[0].table == "plays":
        gained = GainedPlays.since(
            {day: known[day] for day in known if day in days}, settings.paths.interactions
        )
        for day in gained.until:
            kept = _file_of(folder, day)
            if kept.is_file() and is_usable(kept):
                # A late play changes the values of its own keys alone.
                ids = gained.new(day, [view.join_keys[0]]).to_series().unique()
                same = pl.read_parquet(kept).filter(~pl.col(ids.name).is_in(ids.implode()))
                again = _values_of([files[day]], view, settings, ids)
                found[day] = pl.concat([same, again]).sort(view.join_keys)
    others = {day: path for day, path in files.items() if day in days and day not in found}
    for paths in in_parts(list(others.values())) if others else ():
        values = _values_of(paths, view, settings)
        of_days = values.partition_by(VISIBLE, as_dict=True)
        for day in (day for day, path in others.items() if path in paths):
            found[day] = of_days.get((day + _DAY,), values.clear())
    return found


def _values_of(
    paths: list[Path], view: View, settings: FeatureNeeds, only: pl.Series | None = None
) -> pl.DataFrame:
    """Args: only: of the key with this name, rows of these ids alone; None for all."""
    if view.features[0].table == "plays":
        parts = ExpressedPlays([view], settings, paths, only).parts(view)
    else:
        parts = iter((expressed_records(paths, view),))
    return pl.concat([values_of_days(part, view) for part in parts])


def _table_of(view: View, settings: FeatureNeeds) -> Path:
    of_plays = view.features[0].table == "plays"
    return settings.paths.interactions if of_plays else settings.paths.video_daily


def _file_of(folder: Path, day: date) -> Path:
    return folder / "days" / f"{day.isoformat()}.parquet"
