"""The pairs of all days up to some weeks ago, from which a night with late plays starts.

Which play of a pair was the first depends on the days before, so days are summed again from the day of the
oldest late play. The pairs of all days cannot be used for that; these can, unless that play is older still.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core.checksums import is_usable
from pipelines.features.stored_pairs import StoredPairs, files_of_pairs, in_groups
from pipelines.pair_bits import bits_at

# Plays that come later than this many days after their own are rare.
DAYS_BEHIND = 14
_FOLDER, _RECORD = "earlier", "days.json"


def folder_of_earlier(folder: Path) -> Path:
    """Where the pairs are, below a folder that also has those of all days."""
    return folder / _FOLDER


@dataclass(frozen=True)
class EarlierPairs:
    """The pairs of the first `days` days of a log.

    Attributes:
        folder: where they are; None if they are those of no day.
    """

    days: int = 0
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> "EarlierPairs":
        """The pairs that are kept in a folder; those of no day if a file is missing or damaged."""
        own = folder_of_earlier(folder)
        try:
            days = int(json.loads((own / _RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()
        is_there = all(path.is_file() and is_usable(path) for path in files_of_pairs(own))
        return cls(days, own) if days and is_there else cls()

    def pairs(self) -> StoredPairs | None:
        """The pairs; None if there are none."""
        return None if self.folder is None else StoredPairs(self.folder)

    def has(self, user_id: pl.Series, video_id: pl.Series) -> pl.Series:
        """Whether each pair is among them; only those of these users are read."""
        found = np.zeros(len(user_id), dtype=np.bool_)
        stored = self.pairs()
        if stored is None:
            return pl.Series(found)
        videos, video = np.unique(video_id.to_numpy(), return_inverse=True)
        rows, bits = stored.rows_of(user_id.to_numpy()), stored.over(videos)
        for some in in_groups(np.argsort(rows)):
            found[some] = bits_at(bits.read(rows[some]), np.arange(len(some)), video[some])
        return pl.Series(found)

    def keep_in(self, folder: Path) -> None:
        """Keep them for another night, with what else is kept in a folder.

        If they are not there yet, they are copied.
        """
        own = folder_of_earlier(folder)
        if self.folder is not None and self.folder != own:
            own.mkdir()
            for path in files_of_pairs(self.folder):
                # With its time of modification, by which its checksum holds on.
                shutil.copy2(path, own / path.name)
        own.mkdir(exist_ok=True)
        (own / _RECORD).write_text(json.dumps(self.days), encoding="utf-8")
