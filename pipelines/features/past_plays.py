"""What had been played before an instant; days whose pairs the features keep are not read from the log."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nightreel.core import columns
from nightreel.core.play_days import files_by_day, newest_in
from nightreel.core.settings.needs import LogNeeds
from pipelines.features.kept_days import KeptDays


@dataclass(frozen=True)
class PastPlays:
    """The plays before an instant.

    Attributes:
        kept: of days whose plays all count; None if nothing is kept of them.
        rest: the files of the other days, in order, of which some plays may count; also of days whose pairs
            are kept, but that have received late plays since.
    """

    kept: KeptDays | None
    rest: tuple[Path, ...]

    @classmethod
    def of(cls, settings: LogNeeds, as_of: datetime, known_at: datetime | None = None) -> "PastPlays":
        """The plays of the home's log.

        Args:
            known_at: only plays that had arrived by then; by default all.
        """
        files = files_by_day(settings.paths.interactions)
        kept = KeptDays.of(settings)
        if kept is None or not all(
            _counts(files[day], as_of, known_at, kept.until.get(day)) for day in (*kept.days, *kept.until)
        ):
            return cls(None, tuple(files.values()))
        days = frozenset(kept.days)
        return cls(kept, tuple(path for day, path in files.items() if day not in days))


def _counts(path: Path, as_of: datetime, known_at: datetime | None, until: datetime | None) -> bool:
    """Whether all plays of a day happened before `as_of` and had arrived by `known_at`.

    Args:
        until: only the plays that had arrived by then are asked about; None for all.
    """
    arrived = newest_in(path, columns.CREATED_TIMESTAMP) if until is None else until
    if known_at is not None and arrived is not None and arrived > known_at:
        return False
    happened = newest_in(path, columns.EVENT_TIMESTAMP)
    return happened is None or happened < as_of
