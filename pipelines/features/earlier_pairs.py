"""The pairs of all days up to some weeks ago, from which a night with late plays starts.

Which play of a pair was the first depends on the days before, so days are summed again from the day of the
oldest late play. The pairs of all days cannot be used for that; these can, unless that play is older still.
"""

import json
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core.checksums import is_usable
from pipelines.features.seen_pairs import SeenPairs
from pipelines.features.stored_pairs import StoredPairs, in_groups
from pipelines.pair_bits import bits_at

# Plays that come later than this many days after their own are rare.
DAYS_BEHIND = 14
_FOLDER, _RECORD = "earlier", "days.json"


@dataclass(frozen=True)
class EarlierPairs:
    """The pairs of the first `days` days of a log.

    Attributes:
        known: the pairs, or the folder that they are in.
    """

    days: int
    known: SeenPairs | Path

    @classmethod
    def none(cls) -> "EarlierPairs":
        """Those of no day."""
        return cls(0, SeenPairs())

    @classmethod
    def read(cls, folder: Path) -> "EarlierPairs":
        """The pairs that `write` wrote; those of no day if a file is missing or damaged."""
        own = folder / _FOLDER
        try:
            days = int(json.loads((own / _RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls.none()
        is_there = all(path.is_file() and is_usable(path) for path in SeenPairs.files(own))
        return cls(days, own) if is_there else cls.none()

    def pairs(self) -> SeenPairs:
        """A copy of the pairs, which may be added to."""
        return SeenPairs.read(self.known) if isinstance(self.known, Path) else deepcopy(self.known)

    def has(self, user_id: pl.Series, video_id: pl.Series) -> pl.Series:
        """Whether each pair is among them; of stored pairs, only those of these users are read."""
        if not isinstance(self.known, Path):
            return self.known.has(user_id, video_id)
        stored = StoredPairs(self.known)
        videos, video = np.unique(video_id.to_numpy(), return_inverse=True)
        rows, bits = stored.rows_of(user_id.to_numpy()), stored.over(videos)
        found = np.zeros(len(rows), dtype=np.bool_)
        for some in in_groups(np.argsort(rows)):
            found[some] = bits_at(bits.read(rows[some]), np.arange(len(some)), video[some])
        return pl.Series(found)

    def write(self, folder: Path) -> None:
        """Keep them for another night, with what else is kept in the folder."""
        own = folder / _FOLDER
        own.mkdir()
        if isinstance(self.known, Path):
            for path in SeenPairs.files(self.known):
                # With its time of modification, by which its checksum holds on.
                shutil.copy2(path, own / path.name)
        else:
            self.known.write(own)
        (own / _RECORD).write_text(json.dumps(self.days), encoding="utf-8")
