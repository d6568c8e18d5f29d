"""Which users have played which videos, a bit each: a night knows a first play without reading the log.

Memory and the file grow with users times videos, not with plays: 9.6 MB at KuaiRec's size.
"""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from nightreel.core import columns

_BITS = "bits"
_SLACK = 1.1
_NOBODY = np.zeros(0, dtype=np.int64)


class SeenPairs:
    """The pairs so far. Codes of users and videos follow the order in which they came."""

    def __init__(self) -> None:
        self._users, self._videos = _Codes(_NOBODY), _Codes(_NOBODY)
        self._bits = np.zeros((0, 0), dtype=np.uint8)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` has written."""
        found = cls()
        rows = pl.read_parquet(folder / "seen.parquet")
        videos = pl.read_parquet(folder / "seen_videos.parquet")[columns.VIDEO_ID]
        found._users, found._videos = _Codes(rows[columns.USER_ID].to_numpy()), _Codes(videos.to_numpy())
        flat = np.frombuffer(b"".join(rows[_BITS]), dtype=np.uint8)
        found._bits = flat.reshape(rows.height, -1).copy() if rows.height else found._bits
        return found

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """The paths below a folder that `write` writes."""
        return [folder / "seen.parquet", folder / "seen_videos.parquet"]

    def write(self, folder: Path) -> None:
        """Keep the pairs for another night."""
        users, videos = self._users.ids, self._videos.ids
        rows = self._bits[: len(users), : -(-len(videos) // 8)]
        of_users = {columns.USER_ID: users, _BITS: [row.tobytes() for row in rows]}
        tables = (
            pl.DataFrame(of_users, schema={columns.USER_ID: pl.Int64, _BITS: pl.Binary}),
            pl.DataFrame({columns.VIDEO_ID: videos}, schema={columns.VIDEO_ID: pl.Int64}),
        )
        for table, path in zip(tables, self.files(folder), strict=True):
            table.write_parquet(path)

    def add(self, user_id: pl.Series, video_id: pl.Series) -> pl.Series:
        """Add plays, given in order of time.

        Returns:
            For each play, whether it is the first of its pair.
        """
        user, video = self._users.of(user_id.to_numpy()), self._videos.of(video_id.to_numpy())
        self._grow()
        first = pl.Series(user * len(self._videos.ids) + video).is_first_distinct().to_numpy(writable=True)
        at = np.flatnonzero(first)
        row, byte, bit = user[at], video[at] >> 3, (1 << (video[at] & 7)).astype(np.uint8)
        known = (self._bits[row, byte] & bit) != 0
        np.bitwise_or.at(self._bits, (row, byte), bit)
        first[at[known]] = False
        return pl.Series(first)

    def _grow(self) -> None:
        rows, width = len(self._users.ids), -(-len(self._videos.ids) // 8)
        now = self._bits.shape
        if rows > now[0] or width > now[1]:
            shape = max(int(rows * _SLACK), now[0]), max(int(width * _SLACK) + 1, now[1])
            grown = np.zeros(shape, dtype=np.uint8)
            grown[: now[0], : now[1]] = self._bits
            self._bits = grown


class _Codes:
    """A whole number for each id, from 0 in the order in which they come."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The codes of ids; new ones get the next."""
        new = np.setdiff1d(ids, self.ids)
        self.ids = np.concatenate([self.ids, new])
        order = np.argsort(self.ids)
        codes: np.ndarray = order[np.searchsorted(self.ids, ids, sorter=order)]
        return codes
