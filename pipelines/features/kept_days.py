"""What features have kept of the days so far, for readers that would otherwise read the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import fingerprint
from nightreel.core.play_days import digests_of_days, files_by_day
from nightreel.core.settings.needs import LogNeeds
from pipelines.arrivals import arrivals_in, digest_until
from pipelines.features.daily_sums import FOLDER, PLAYS, SETTINGS, files_of_sums, kept_sums
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
        digests = digests_of_days(settings.paths.interactions)
        by_day = files_by_day(settings.paths.interactions)
        if not known or not known.keys() <= digests.keys():
            return None
        same = tuple(day for day, digest in known.items() if digests[day] == digest)
        until = {day: _as_of_digest(by_day[day], known[day]) for day in known.keys() - set(same)}
        found = {day: instant for day, instant in until.items() if instant is not None}
        if len(found) < len(until):
            return None
        try:
            users = kept_sums(folder, same, settings.data).users
            pairs = StoredPairs(folder)
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException):
            return None
        if recorded_days(folder, decisive, files) != known:
            return None
        plays = users.group_by(columns.USER_ID).agg(pl.col(PLAYS).sum())
        return cls(same, found, pairs, plays)


def _as_of_digest(path: Path, digest: str) -> datetime | None:
    """When the last play of a day's file with this digest arrived; None if it never had the digest."""
    earlier = sorted(arrivals_in(path))[:-1]
    return next((instant for instant in reversed(earlier) if digest_until(path, instant) == digest), None)
