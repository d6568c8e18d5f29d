"""A table of days while ingest adds to it: only days with new rows are read and written."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.checksums import is_usable, recorded_digest
from nightreel.core.errors import NightreelError
from nightreel.core.play_days import day_file, files_by_day, newest_in
from pipelines.arrivals import earlier_digests_file, read_earlier_digests, write_earlier_digests
from pipelines.ingest.output import Output
from pipelines.ingest.reject_columns import LINE
from pipelines.local_days import days_of

_DAY = "local day"
# Rows of a raw file that are kept in memory before they are written to disk by day.
ROWS_IN_MEMORY = 2_000_000
_KEYS = (columns.USER_ID, columns.VIDEO_ID)


class DamagedDayError(NightreelError):
    """A day's file that should get new rows is damaged, so the table must be rebuilt."""


def require_usable_days(interactions: Path) -> None:
    """Raise DamagedDayError if a day's file is not as it was written."""
    for path in files_by_day(interactions).values():
        if not is_usable(path):
            raise DamagedDayError(f"{path}: not as it was written.", "Rebuild the table.")


def by_day(plays: pl.DataFrame, zone: ZoneInfo) -> Iterator[tuple[date, pl.DataFrame]]:
    """The plays of each local day that has some, in order of the days; rows keep their order."""
    if plays.is_empty():
        return
    marked = plays.with_columns(days_of(plays[columns.EVENT_TIMESTAMP], zone).alias(_DAY))
    parts = marked.partition_by(_DAY, maintain_order=True, as_dict=True, include_key=False)
    for (day,), part in sorted(parts.items()):
        yield day, part


def write_days(interactions: Path, plays: pl.DataFrame, zone: ZoneInfo) -> None:
    """Write plays, given in order of time, as a table of days."""
    for day, part in by_day(plays, zone):
        path = day_file(interactions, day)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(path, statistics=True)


def by_date(records: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame]]:
    """The records of each day, in order of the days; rows keep their order."""
    parts = records.partition_by(columns.LOCAL_DATE, maintain_order=True, as_dict=True)
    for (day,), part in sorted(parts.items()):
        yield day, part


class DaySpill:
    """Rows of a raw file by local day; beyond ROWS_IN_MEMORY rows they are kept on disk."""

    def __init__(
        self, folder: Path, split: Callable[[pl.DataFrame], Iterable[tuple[date, pl.DataFrame]]]
    ) -> None:
        """Start without rows.

        Args:
            folder: an existing one, the caller's to remove.
            split: gives the rows of each day.
        """
        self._folder, self._split = folder, split
        self._waiting: list[pl.DataFrame] = []
        self._files: dict[date, list[Path]] = {}
        self._parts: dict[date, pl.DataFrame] = {}
        self._left_out: list[int] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that have a day."""
        self._waiting.append(rows)
        if sum(part.height for part in self._waiting) >= ROWS_IN_MEMORY:
            number = sum(map(len, self._files.values()))
            for at, (day, part) in enumerate(self._emptied()):
                path = self._folder / f"{number + at}.arrow"
                part.write_ipc(path, compression="lz4")
                self._files.setdefault(day, []).append(path)

    def leave_out(self, lines: list[int]) -> None:
        """Leave out the rows of these lines."""
        self._left_out = lines

    def days(self) -> list[date]:
        """The days of all rows, ascending; no rows may be added afterwards."""
        self._parts |= dict(self._emptied())
        return sorted({*self._files, *self._parts})

    def rows(self, day: date) -> pl.DataFrame:
        """A day's rows in the order in which they were added."""
        parts = [pl.read_ipc(path) for path in self._files.get(day, [])]
        rows = pl.concat([*parts, *([self._parts[day]] if day in self._parts else [])])
        return rows.filter(~pl.col(LINE).is_in(self._left_out)) if self._left_out else rows

    def _emptied(self) -> list[tuple[date, pl.DataFrame]]:
        if not self._waiting:
            return []
        rows = pl.concat(self._waiting)
        self._waiting.clear()
        return list(self._split(rows))


class DaysWritten:
    """The present table of days, which is extended or rebuilt, and the days of the new one.

    Attributes:
        rows, raw_rows: the numbers of rows of the new table, and of those among them that the raw file has.
    """

    def __init__(
        self, output: Output, folder: Path, *, rows: int, raw_rows: int = 0, keys: Sequence[str] = _KEYS
    ) -> None:
        """Start with the days that the table has.

        Args:
            folder: the final path of the table.
            rows: 0 if the table is rebuilt.
            keys: the columns of users and videos that the table has.
        """
        self._output, self._folder = output, folder
        self._present = files_by_day(folder)
        self._kept = dict(self._present) if rows else {}
        self._written: dict[date, Path] = {}
        self._digests = read_earlier_digests(folder) if rows else {}
        self._ids: dict[str, list[np.ndarray]] = {key: [self._known_ids(key)] if rows else [] for key in keys}
        self.rows, self.raw_rows = rows, raw_rows

    def day(self, day: date) -> pl.DataFrame | None:
        """A day's rows so far; None if it has none.

        Raises:
            DamagedDayError: the file is not as it was written.
        """
        if day in self._written:
            return pl.read_parquet(self._output.new(self._written[day]))
        if day not in self._kept:
            return None
        if not is_usable(self._kept[day]):
            raise DamagedDayError(f"{self._kept[day]}: not as it was written.", "Rebuild the table.")
        return pl.read_parquet(self._kept[day])

    def put(self, day: date, rows: pl.DataFrame, *, before: int, arrived: datetime | None = None) -> None:
        """Write a day's rows.

        Args:
            rows: of a log, in order of time.
            before: the day's number of rows so far.
            arrived: when the new plays did, if later than all others, which stay as they are; else None.
        """
        path = day_file(self._folder, day)
        self._note_digest(day, arrived)
        # The same rows give the same bytes, however they came together.
        rows.rechunk().write_parquet(self._output.new(path), statistics=True)
        self._written[day] = path
        self.rows += rows.height - before
        for key, known in self._ids.items():
            known.append(rows[key].unique().to_numpy())

    def present_days(self) -> list[date]:
        """The days of the present table, ascending."""
        return list(self._present)

    def present(self, day: date) -> pl.DataFrame | None:
        """A day's plays in the present table; None without any, or if they cannot be read."""
        try:
            return pl.read_parquet(self._present[day]) if is_usable(self._present[day]) else None
        except (KeyError, OSError, pl.exceptions.PolarsError):
            return None

    def finish(self) -> tuple[list[Path], dict[str, int | None]]:
        """Carry over the days without new rows, and write the ids.

        Returns:
            All final paths; and the rows, users and videos of the table.
        """
        for day, path in self._kept.items():
            if day not in self._written:
                self._output.keep(path)
        digests = [earlier_digests_file(self._folder)] if self._digests else []
        for path in digests:
            write_earlier_digests(self._output.new(path), self._digests)
        days = sorted({*self._kept, *self._written})
        size: dict[str, int | None] = {"rows": self.rows, "users": None, "videos": None}
        for name, key in (("users", columns.USER_ID), ("videos", columns.VIDEO_ID)):
            if key in self._ids:
                ids = np.unique(np.concatenate(self._ids[key] or [np.zeros(0, dtype=np.int64)]))
                pl.DataFrame({key: ids}).write_parquet(self._output.new(self._ids_file(key)))
                size[name] = len(ids)
        files = [day_file(self._folder, day) for day in days]
        return [*files, *map(self._ids_file, self._ids), *digests], size

    def _note_digest(self, day: date, arrived: datetime | None) -> None:
        """Note the digest that a day's file has before late plays, by which later steps recognise it."""
        noted = self._digests.pop(day, {})
        if arrived is None:
            return
        noted = {at: digest for at, digest in noted.items() if at < arrived}
        if day in self._kept and day not in self._written:
            until = newest_in(self._kept[day], columns.CREATED_TIMESTAMP)
            digest = recorded_digest(self._kept[day])
            if until is not None and until < arrived and digest is not None:
                noted[until] = digest
        if noted:
            self._digests[day] = noted

    def _ids_file(self, key: str) -> Path:
        return self._folder.parent / "keys" / self._folder.name / f"{key}.parquet"

    def _known_ids(self, key: str) -> np.ndarray:
        ids: np.ndarray = pl.read_parquet(self._ids_file(key))[key].to_numpy()
        return ids
