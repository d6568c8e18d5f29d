"""What features have kept of the days so far, for readers that would otherwise read the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa

from nightreel.core.artefacts import fingerprint
from nightreel.core.settings.needs import LogNeeds
from pipelines.features.daily_sums import FOLDER, SETTINGS, files_of_sums, plays_of_users
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.recorded_days import recorded_days
from pipelines.features.stored_pairs import StoredPairs, files_of_pairs


@dataclass(frozen=True)
class KeptDays:
    """Kept sums and pairs of days of the table, if none of these days has lost a play since.

    Attributes:
        days: those whose file is the same.
        until: for each other day, the instant by which its plays among the pairs had arrived.
        pairs: which users have played which videos on these days.
        plays_of_users: user_id and the number of its `plays` on the days that are the same.
    """

    days: tuple[date, ...]
    until: Mapping[date, datetime]
    pairs: StoredPairs
    plays_of_users: pl.DataFrame

    @classmethod
    def of(cls, settings: LogNeeds) -> "KeptDays | None":
        """None if nothing is kept, or if one of the days has lost or changed a play by now.

        Also None if the features replace what is kept while it is read.
        """
        folder = settings.paths.state / FOLDER
        files = [*files_of_sums(folder), *files_of_pairs(folder)]
        decisive = fingerprint(settings=settings.chosen(SETTINGS))
        known = recorded_days(folder, decisive, files)
        if not known:
            return None
        gained = GainedPlays.since(known, settings.paths.interactions)
        if gained.lost:
            return None
        same = tuple(day for day in known if day not in gained.until)
        try:
            plays = plays_of_users(folder, same, settings.data)
            pairs = StoredPairs(folder)
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException):
            return None
        if recorded_days(folder, decisive, files) != known:
            return None
        return cls(same, gained.until, pairs, plays)
