"""The file of which users have played which videos, of which the bits of some users are read when asked for.

Users ascend, and a row group has few of them: the bits of one user or of a part of the users cost a row group
or two, on any node that reaches the home, and no process has to hold those of all users.
"""

import socket
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.checksums import recorded_digest
from nightreel.core.errors import NightreelError
from pipelines.pair_bit_loops import moved_bits

_BITS = "bits"
# Files named seen.parquet, by an earlier nightreel, have another order of bits and are not read.
_FILE, _VIDEOS_FILE = "seen_pairs.parquet", "seen_videos.parquet"
# Users of a row group: 0.7 MB of bits at KuaiRec's size, 6 MB with 100,000 videos.
_GROUP_USERS = 512
# Row groups that stay in memory, in the order of videos asked for: threads read blocks of users side by side.
_GROUPS_KEPT = 8


def files_of_pairs(folder: Path) -> list[Path]:
    """The paths below a folder that `write_pairs` writes."""
    return [folder / _FILE, folder / _VIDEOS_FILE]


def in_groups(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The entries of an array by row groups of the file."""
    return (rows[start : start + _GROUP_USERS] for start in range(0, len(rows), _GROUP_USERS))


def whole_groups(users: int, *, up: bool = False) -> int:
    """A number of users, rounded to that of whole row groups."""
    return (users + (_GROUP_USERS - 1 if up else 0)) // _GROUP_USERS * _GROUP_USERS


def write_pairs(folder: Path, user_id: np.ndarray, video_id: np.ndarray, rows: Iterable[np.ndarray]) -> None:
    """Write the bits of users.

    Args:
        user_id: int64 [users], ascending.
        video_id: int64 [videos], in the order of the bits.
        rows: uint8 [users, videos / 8], as `in_groups` cuts them.
    """
    width = max(-(-len(video_id) // 8), 1)
    schema = pa.schema([(columns.USER_ID, pa.int64()), (_BITS, pa.binary(width))])
    users, videos = files_of_pairs(folder)
    with pq.ParquetWriter(users, schema, compression="zstd", use_dictionary=False) as writer:
        for ids, bits in zip(in_groups(user_id), rows, strict=True):
            flat = pa.py_buffer(np.ascontiguousarray(bits))
            of_users = pa.FixedSizeBinaryArray.from_buffers(schema.field(_BITS).type, len(ids), [None, flat])
            writer.write_table(pa.table([pa.array(ids), of_users], schema=schema))
    pl.DataFrame({columns.VIDEO_ID: video_id}, schema={columns.VIDEO_ID: pl.Int64}).write_parquet(videos)


class StoredPairs:
    """The pairs in the files of a folder; those of a process that has opened them stay the same.

    Attributes:
        user_ids: int64, the user of each row of the file.
        video_ids: int64, the videos in the order of the bits.
    """

    def __init__(self, folder: Path) -> None:
        """Open the files that `write_pairs` wrote; bits are read later.

        Raises:
            OSError, pyarrow.ArrowException, polars.exceptions.PolarsError: one is missing or cannot be read.
        """
        users, videos = files_of_pairs(folder)
        self._file = _BitsFile(users)
        self.user_ids = self._file.user_ids()
        self.video_ids = pl.read_parquet(videos)[columns.VIDEO_ID].to_numpy()

    def rows_of(self, user_id: np.ndarray) -> np.ndarray:
        """The row of each of these users, -1 for one without a play: int64."""
        order = np.argsort(self.user_ids)
        at, is_known = indices_in(self.user_ids[order], user_id)
        rows = np.full(len(user_id), -1)
        rows[is_known] = order[at[is_known]]
        return rows

    def over(self, video_id: np.ndarray) -> "StoredBits":
        """The bits of these videos in their order, as `pair_bits` has it; they are read when asked for.

        Args:
            video_id: int64, ascending.
        """
        position, is_known = indices_in(video_id, self.video_ids)
        return StoredBits(self._file, np.where(is_known, position, -1), len(video_id))


class StoredBits:
    """The bits of some videos, by row of the file; each is read when it is asked for.

    May be sent to another process, which opens the file under the same path and reads nothing else.
    """

    def __init__(self, file: "_BitsFile", position: np.ndarray, videos: int) -> None:
        """Remember what to read.

        Args:
            position: int64, where the bit of each video of the file goes; negative for one that is left out.
            videos: number of videos in a row that is returned.
        """
        self._file, self._position, self._videos = file, position, videos
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in {"_kept", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The bits of these rows, zeros for a negative one, in an array of its own: uint8 [rows, videos / 8].

        Raises:
            NightreelError: this came from another process, and the file is missing here or has been replaced.
        """
        found = np.zeros((len(rows), -(-self._videos // 8)), dtype=np.uint8)
        # A negative row is in no group.
        groups = np.searchsorted(self._file.starts, rows, side="right") - 1
        for number in np.unique(groups[rows >= 0]).tolist():
            of_group = groups == number
            found[of_group] = self._group(number)[rows[of_group] - self._file.starts[number]]
        return found

    def _group(self, number: int) -> np.ndarray:
        # One thread reads at a time: others, if any, mostly wait for the same group.
        with self._lock:
            if number not in self._kept:
                self._kept[number] = self._in_order(self._file.group(number))
                if len(self._kept) > _GROUPS_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _in_order(self, bits: np.ndarray) -> np.ndarray:
        width = -(-self._videos // 8)
        if np.array_equal(self._position, np.arange(len(self._position))):
            # New videos, if any, come after those of the file.
            return np.pad(bits[:, :width], ((0, 0), (0, max(width - bits.shape[1], 0))))
        return moved_bits(bits, self._position, width)


class _BitsFile:
    """The file of bits, which each process opens once; sent to another process, it is opened there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Opened first, so that the checksum is not that of an older file. If it is of a newer one, no other
        # process reads that.
        self._opened: pq.ParquetFile | None = pq.ParquetFile(path)
        self._digest = recorded_digest(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self._path, self._digest)

    @property
    def _parquet(self) -> pq.ParquetFile:
        if self._opened is None:
            self._opened = self._open_again()
        return self._opened

    def _open_again(self) -> pq.ParquetFile:
        try:
            found = pq.ParquetFile(self._path)
        except FileNotFoundError:
            raise NightreelError(
                f"{self._path}: not there on {socket.gethostname()}.",
                "The home must be on storage that every node has under the same path.",
            ) from None
        if recorded_digest(self._path) != self._digest:
            raise NightreelError(
                f"{self._path}: replaced while lists were made from it.", "Run `nightreel score` again."
            )
        return found

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of each row group, and the number of all rows: int64."""
        groups = self._parquet.metadata
        rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        found: np.ndarray = np.cumsum([0, *rows])
        return found

    def user_ids(self) -> np.ndarray:
        """The user of each row: int64."""
        users = self._parquet.read(columns=[columns.USER_ID], use_threads=False)
        found: np.ndarray = users.column(0).to_numpy()
        return found

    def group(self, number: int) -> np.ndarray:
        """The bits of a row group: uint8 [users, videos / 8]."""
        bits = self._parquet.read_row_group(number, columns=[_BITS], use_threads=False).column(0)
        return np.concatenate([_as_rows(chunk) for chunk in bits.chunks])


def _elsewhere(path: Path, digest: str | None) -> _BitsFile:
    """The file in another process than the one that opened it first; it is opened when it is read."""
    file = _BitsFile.__new__(_BitsFile)
    file._path, file._digest, file._opened = path, digest, None
    return file


def _as_rows(bits: pa.Array) -> np.ndarray:
    """A row for each entry: all have the same length, which a file by an earlier nightreel says of each."""
    values = bits.cast(pa.large_binary()) if not pa.types.is_large_binary(bits.type) else bits
    offsets, data = values.buffers()[1:]
    first, last = np.frombuffer(offsets, dtype=np.int64)[[values.offset, values.offset + len(values)]]
    return np.frombuffer(data, dtype=np.uint8)[first:last].reshape(len(values), -1)
