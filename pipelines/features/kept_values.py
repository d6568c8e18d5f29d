"""Kept values of single days, for views of plays: a later night reads only the days that have changed."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from nightreel.core.artefacts import atomic_write
from nightreel.core.catalogue import View
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.play_days import digests_of_days, in_parts
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.expressed_plays import ExpressedPlays, roots_of
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.over_days import is_of_single_days, values_of_days
from pipelines.features.points import VISIBLE
from pipelines.features.recorded_days import recorded_days, write_record

_VALUES = "values.parquet"


def can_be_kept(view: View) -> bool:
    """Whether the values of a day depend on that day's plays alone, and not on facts about videos."""
    groups = {group.join_key for group in GROUPS}
    return is_of_single_days(view) and groups.isdisjoint({*roots_of(view), *view.join_keys})


def kept_values(view: View, settings: FeatureNeeds, decisive: str, *, force: bool) -> pl.DataFrame:
    """The values of all days, in order of keys and days.

    Args:
        decisive: a digest of what decides them besides the plays; if it has changed, all days are read.
    """
    folder = settings.paths.state / "values_of_days" / view.name
    digests = digests_of_days(settings.paths.interactions)
    known = {} if force else recorded_days(folder, decisive, [folder / _VALUES])
    gained = GainedPlays.since(known, settings.paths.interactions)
    values = []
    if known:
        kept = pl.read_parquet(folder / _VALUES)
        # A day's values are visible from the next day on.
        same = pl.Series(
            [day + timedelta(days=1) for day in known.keys() - gained.until.keys() - gained.lost]
        )
        values.append(kept.filter(pl.col(VISIBLE).is_in(same.cast(pl.Date).implode())))
        for day in gained.until:
            # A late play changes the values of its own keys alone.
            ids = gained.new(day, [view.join_keys[0]]).to_series().unique()
            is_same = (pl.col(VISIBLE) == day + timedelta(days=1)) & ~pl.col(ids.name).is_in(ids.implode())
            values += [kept.filter(is_same), *_values_of([gained.files[day]], view, settings, ids)]
    for paths in in_parts(
        [path for day, path in gained.files.items() if day not in known or day in gained.lost]
    ):
        values += _values_of(paths, view, settings)
    found = pl.concat(values).sort(*view.join_keys, VISIBLE)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        found.write_parquet(temporary / _VALUES)
        write_record(temporary, decisive, digests)
    return found


def _values_of(
    paths: list[Path], view: View, settings: FeatureNeeds, only: pl.Series | None = None
) -> list[pl.DataFrame]:
    rows = ExpressedPlays([view], settings, paths, only).parts(view)
    return [values_of_days(part, view) for part in rows if part.height]
