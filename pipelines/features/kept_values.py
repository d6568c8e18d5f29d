"""Kept values of single days, for views of plays: a later night reads only the days that have changed."""

from datetime import timedelta

import polars as pl

from nightreel.core.artefacts import atomic_write
from nightreel.core.catalogue import View
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.play_days import digests_of_days, files_by_day, in_parts
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.expressed_plays import ExpressedPlays, roots_of
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
    files, digests = files_by_day(settings.paths.interactions), digests_of_days(settings.paths.interactions)
    known = {} if force else recorded_days(folder, decisive, [folder / _VALUES])
    same = {day for day, digest in digests.items() if known.get(day) == digest}
    values = []
    if same:
        # A day's values are visible from the next day on.
        visible = pl.Series([day + timedelta(days=1) for day in same]).implode()
        values.append(pl.read_parquet(folder / _VALUES).filter(pl.col(VISIBLE).is_in(visible)))
    for paths in in_parts([path for day, path in files.items() if day not in same]):
        rows = ExpressedPlays([view], settings, paths).parts(view)
        values += [values_of_days(part, view) for part in rows if part.height]
    found = pl.concat(values).sort(*view.join_keys, VISIBLE)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        found.write_parquet(temporary / _VALUES)
        write_record(temporary, decisive, digests)
    return found
