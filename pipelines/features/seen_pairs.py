"""Which users have played which videos, one bit per pair, so that a night need not read the log to know this.

Memory and the file grow with users times videos, not with plays: 9.6 MB at KuaiRec's size.
"""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from nightreel.core import columns
from pipelines.id_codes import IdCodes
from pipelines.pair_bit_loops import set_bits

_BITS = "bits"
# Files named seen.parquet, by an earlier nightreel, have another order of bits and are not read.
_FILE, _VIDEOS_FILE = "seen_pairs.parquet", "seen_videos.parquet"
# Users whose bits are unpacked at a time.
_USERS_AT_A_TIME = 512
_SLACK = 1.1
_NOBODY = np.zeros(0, dtype=np.int64)


class SeenPairs:
    """The pairs so far. Users and videos have codes in order of appearance."""

    def __init__(self) -> None:
        self._users, self._videos = IdCodes(_NOBODY), IdCodes(_NOBODY)
        self._bits = np.zeros((0, 0), dtype=np.uint8)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The pairs that `write` stored."""
        found = cls()
        rows = pl.read_parquet(folder / _FILE)
        videos = pl.read_parquet(folder / _VIDEOS_FILE)[columns.VIDEO_ID]
        found._users, found._videos = IdCodes(rows[columns.USER_ID].to_numpy()), IdCodes(videos.to_numpy())
        flat = np.frombuffer(b"".join(rows[_BITS]), dtype=np.uint8)
        found._bits = flat.reshape(rows.height, -1).copy() if rows.height else found._bits
        return found

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """The paths below a folder that `write` writes."""
        return [folder / _FILE, folder / _VIDEOS_FILE]

    def write(self, folder: Path) -> None:
        """Store the pairs for later nights."""
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
        if user_id.is_empty():
            return pl.Series(dtype=pl.Boolean)
        return pl.Series(self._first(user_id, video_id))

    def mark(self, user_id: pl.Series, video_id: pl.Series) -> None:
        """Add plays without finding out which of them are the first of their pair."""
        if not user_id.is_empty():
            self._first(user_id, video_id)

    def _first(self, user_id: pl.Series, video_id: pl.Series) -> np.ndarray:
        user, video = self._users.of(user_id.to_numpy()), self._videos.of(video_id.to_numpy())
        self._grow()
        return set_bits(self._bits, user, video, np.ones(len(user), dtype=np.bool_))

    @property
    def user_ids(self) -> np.ndarray:
        """The users with a play, ascending: int64."""
        return np.sort(self._users.ids)

    @property
    def video_ids(self) -> np.ndarray:
        """The videos with a play, ascending: int64."""
        return np.sort(self._videos.ids)

    def of(self, user_id: np.ndarray, video_id: np.ndarray) -> np.ndarray:
        """The bits of these users and videos, as `pair_bits` orders them: uint8 [users, videos / 8]."""
        found = np.zeros((len(user_id), -(-len(video_id) // 8)), dtype=np.uint8)
        row, has_row = self._users.known(user_id)
        column, has_column = self._videos.known(video_id)
        users = np.flatnonzero(has_row)
        for start in range(0, len(users) if has_column.any() else 0, _USERS_AT_A_TIME):
            some = users[start : start + _USERS_AT_A_TIME]
            bits = np.unpackbits(self._bits[row[some]], axis=1)
            found[some] = np.packbits(np.take(bits, column, axis=1) & has_column, axis=1)
        return found

    def _grow(self) -> None:
        rows, width = len(self._users.ids), -(-len(self._videos.ids) // 8)
        now = self._bits.shape
        if rows > now[0] or width > now[1]:
            shape = max(int(rows * _SLACK), now[0]), max(int(width * _SLACK) + 1, now[1])
            grown = np.zeros(shape, dtype=np.uint8)
            grown[: now[0], : now[1]] = self._bits
            self._bits = grown
