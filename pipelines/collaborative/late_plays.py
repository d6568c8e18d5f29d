"""Late plays: a few that arrive after their fit was made wait for the next one.

Every night brings some plays of earlier days. Making all fits since then again for a handful of them takes as
long as the rest of the features. So each fit sees what had arrived by an instant of its own. What arrives
later waits until it is more than WAITING_SHARE of what the fit saw; then the fit sees all of it. A fit also
sees the first delivery of the last day before its cutoff, which after years of plays can be less than that
share, and whatever the fit before it saw.

The instant follows from plays before the cutoff and from when they arrived, in order of arrival. So a home
that starts anew, or that replays an earlier night, has the same fits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from nightreel.core.play_days import digests_of_days, files_by_day
from pipelines.arrivals import arrivals_in, digest_until
from pipelines.local_days import ALWAYS_KNOWN, start_of_day

WAITING_SHARE = 0.001


@dataclass(frozen=True)
class Arrivals:
    """When the plays of a table's local days arrived.

    Attributes:
        files, digests: each day's file, and its digest.
        plays: for each day, the number of plays by the instant of their arrival.
    """

    files: Mapping[date, Path]
    digests: Mapping[date, str]
    plays: Mapping[date, Mapping[datetime, int]]

    @classmethod
    def of(cls, interactions: Path) -> "Arrivals":
        """Read from the files' footers; a day's column of arrivals only if it has several."""
        files = files_by_day(interactions)
        plays = {day: arrivals_in(path) for day, path in files.items()}
        return cls(files, digests_of_days(interactions), plays)

    def seen_until(self, cutoffs: Sequence[datetime], zone: ZoneInfo) -> list[datetime]:
        """For each cutoff, the instant by which the plays that its fit sees had arrived; both ascend."""
        found: list[datetime] = []
        for cutoff in cutoffs:
            days = [day for day in self.plays if start_of_day(day, zone) < cutoff]
            arrived: dict[datetime, int] = {}
            for day in days:
                for instant, n in self.plays[day].items():
                    arrived[instant] = arrived.get(instant, 0) + n
            last_day = [min(self.plays[max(days)])] if days else []
            found.append(max([_seen_until(arrived), *last_day, *found[-1:]]))
        return found

    def digests_before(self, cutoff: datetime, seen_until: datetime, zone: ZoneInfo) -> dict[date, str]:
        """A digest of what a fit sees of each day before its cutoff; of days of which it sees nothing, none.

        Args:
            seen_until: the instant by which the plays that the fit sees had arrived.
        """
        found = {}
        for day, path in self.files.items():
            arrived = self.plays[day]
            if start_of_day(day, zone) >= cutoff or min(arrived) > seen_until:
                continue
            found[day] = self.digests[day] if max(arrived) <= seen_until else digest_until(path, seen_until)
        return found


def _seen_until(arrived: Mapping[datetime, int]) -> datetime:
    until, seen, waiting = ALWAYS_KNOWN, 0, 0
    for instant, plays in sorted(arrived.items()):
        waiting += plays
        if waiting > WAITING_SHARE * seen:
            until, seen, waiting = instant, seen + waiting, 0
    return until
