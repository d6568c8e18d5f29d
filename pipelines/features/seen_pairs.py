"""Which users have played which videos, one bit per pair, so that a night need not read the log to know this.

Memory and the file grow with users times videos, not with plays: 9.6 MB at KuaiRec's size.
"""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from pipelines.features.stored_pairs import StoredPairs, files_of_pairs, in_groups, write_pairs
from pipelines.id_codes import IdCodes
from pipelines.pair_bit_loops import set_bits
from pipelines.pair_bits import bits_at

_SLACK = 1.1
_NOBODY = np.zeros(0, dtype=np.int64)


class SeenPairs:
    """The pairs so far. Users and videos have codes in order of appearance."""

    def __init__(self) -> None:
        self._users, self._videos = IdCodes(_NOBODY), IdCodes(_NOBODY)
        self._bits: np.ndarray = np.zeros((0, 0), dtype=np.uint8)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The pairs that `write` stored."""
        found, stored = cls(), StoredPairs(folder)
        found._users, found._videos = IdCodes(stored.user_ids), IdCodes(stored.video_ids)
        found._bits = stored.bits()
        return found

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """The paths below a folder that `write` writes."""
        return files_of_pairs(folder)

    def write(self, folder: Path) -> None:
        """Store the pairs for later nights."""
        width = -(-len(self._videos.ids) // 8)
        order = np.argsort(self._users.ids)
        rows = (self._bits[some, :width] for some in in_groups(order))
        write_pairs(folder, self._users.ids[order], self._videos.ids, rows)

    def add(self, user_id: pl.Series, video_id: pl.Series) -> pl.Series:
        """Add plays, given in order of time.

        Returns:
            For each play, whether it is the first of its pair.
        """
        if user_id.is_empty():
            return pl.Series(dtype=pl.Boolean)
        return pl.Series(self._first(user_id, video_id))

    def mark(self, user_id: pl.Series, video_id: pl.Series) -> None:
        """Add plays without finding out which of them are the first of their pair."""
        if not user_id.is_empty():
            self._first(user_id, video_id)

    def has(self, user_id: pl.Series, video_id: pl.Series) -> pl.Series:
        """Whether each pair is among them."""
        user, has_user = self._users.known(user_id.to_numpy())
        video, has_video = self._videos.known(video_id.to_numpy())
        asked = np.flatnonzero(has_user & has_video)
        found = np.zeros(len(user_id), dtype=np.bool_)
        found[asked] = bits_at(self._bits, user[asked], video[asked])
        return pl.Series(found)

    def _first(self, user_id: pl.Series, video_id: pl.Series) -> np.ndarray:
        user, video = self._users.of(user_id.to_numpy()), self._videos.of(video_id.to_numpy())
        self._grow()
        return set_bits(self._bits, user, video, np.ones(len(user), dtype=np.bool_))

    def _grow(self) -> None:
        rows, width = len(self._users.ids), -(-len(self._videos.ids) // 8)
        now = self._bits.shape
        if rows > now[0] or width > now[1]:
            shape = max(int(rows * _SLACK), now[0]), max(int(width * _SLACK) + 1, now[1])
            grown = np.zeros(shape, dtype=np.uint8)
            grown[: now[0], : now[1]] = self._bits
            self._bits = grown
