"""Fits of earlier nights that are still valid: a fit is used again if the plays that it saw are the same.

What each fit sees of the days before its cutoff has a digest; the fits before the first one whose digest
differs are read back from the sources, and fitting continues from the last of them. The result is that of
fitting everything again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint_of_files
from nightreel.core.checksums import is_usable
from pipelines.collaborative.fits import Fit


@dataclass(frozen=True)
class Past:
    """The record of the fits that the two sources hold.

    Attributes:
        path: of the record.
        sources: the paths of user_factors and video_factors.
        settings: a digest of the settings that the fits depend on.
    """

    path: Path
    sources: tuple[Path, Path]
    settings: str

    def holds(self, digests: Sequence[str]) -> int:
        """The number of fits, from the first on, that the sources hold and that need no refitting."""
        try:
            recorded = json.loads(self.path.read_text(encoding="utf-8"))
            if recorded["settings"] != self.settings or recorded["sources"] != self._stamps():
                return 0
            if not all(is_usable(source) for source in self.sources):
                return 0
            known = recorded["digests"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        same = 0
        while same < min(len(known), len(digests)) and known[same] == digests[same]:
            same += 1
        return same

    def write(self, digests: Sequence[str]) -> None:
        """Record the fits, once the sources hold them."""
        record = {"settings": self.settings, "sources": self._stamps(), "digests": list(digests)}
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")

    def fit_at(self, cutoff: datetime) -> Fit:
        """The fit of this cutoff, as the sources hold it."""
        found: list[np.ndarray] = []
        keys = ((columns.USER_ID, columns.USER_FACTOR), (columns.VIDEO_ID, columns.VIDEO_FACTOR))
        for source, (key, factor) in zip(self.sources, keys, strict=True):
            rows = pl.read_parquet(source).filter(pl.col(columns.EVENT_TIMESTAMP) == cutoff).sort(key)
            size = rows[factor].list.len().max()
            assert isinstance(size, int)
            found += [rows[key].to_numpy(), rows[factor].list.to_array(size).to_numpy()]
        return Fit(cutoff, *found)

    def _stamps(self) -> dict[str, object]:
        stamps: dict[str, object] = json.loads(json.dumps(fingerprint_of_files(self.sources)))
        return stamps


def digests_of_pasts(digests: Sequence[Mapping[date, str]], cutoffs: Sequence[datetime]) -> list[str]:
    """For each cutoff a digest of it, of the cutoffs before, and of what the fits up to it see.

    Args:
        digests: for each cutoff, of what its fit sees of each day.
        cutoffs: ascending.
    """
    digest = hashlib.sha256()
    found = []
    before: Mapping[date, str] = {}
    for cutoff, days in zip(cutoffs, digests, strict=True):
        new = (days[day] for day in sorted(days) if before.get(day) != days[day])
        digest.update("".join([cutoff.isoformat(), *new]).encode())
        found.append(digest.hexdigest())
        before = days
    return found
