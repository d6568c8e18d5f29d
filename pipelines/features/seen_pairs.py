"""Adds plays to the file of which users have played which videos, for a range of users at a time.

So memory holds the bits of one range, and of one day's plays, however many users and days there are. Each
range reads the user and the video of all new plays. On a cluster, ranges are tasks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.cluster import run_each, workers
from nightreel.core.settings import ClusterSettings
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.stored_pairs import StoredBits, StoredPairs, in_groups, whole_groups, write_pairs
from pipelines.id_codes import IdCodes
from pipelines.pair_bit_loops import set_bits

DAY, FIRST_PLAYS = "day", "first_plays"
PAIR = (columns.USER_ID, columns.VIDEO_ID)
# Of the bits of a range; on a cluster, of each task. All of ten times KuaiRec's are 360 MB.
RANGE_BYTES = 1 << 29


@dataclass(frozen=True)
class AddedPlays:
    """What the plays that were added are among all plays so far.

    Attributes:
        users, videos: the key, DAY and FIRST_PLAYS, the number of the day's plays that are the first of their
            pair, if there is one: int64.
        repeats: user_id, video_id and DAY of the plays that are not, of the days that were asked for.
    """

    users: pl.DataFrame
    videos: pl.DataFrame
    repeats: pl.DataFrame

    @classmethod
    def together(cls, parts: Sequence["AddedPlays"]) -> "AddedPlays":
        """The same of all plays, from parts of them; at least one."""
        users, videos = (
            pl.concat(frames).group_by(key, DAY).agg(pl.col(FIRST_PLAYS).sum())
            for key, frames in zip(
                PAIR, ([part.users for part in parts], [part.videos for part in parts]), strict=True
            )
        )
        return cls(users, videos, pl.concat(part.repeats for part in parts))

    def since(self, day: date) -> "AddedPlays":
        """The same of a day and of those after it."""
        return AddedPlays(*(frame.filter(pl.col(DAY) >= day) for frame in vars(self).values()))


@dataclass(frozen=True)
class NewPlays:
    """The plays to add.

    Attributes:
        gained: of its `days`, those that were not recorded.
        days: ascending.
        repeats_before: days before it have their repeats listed; None for no day.
    """

    gained: GainedPlays
    days: tuple[date, ...]
    repeats_before: date | None = None


def add_plays(
    folder: Path,
    known: StoredPairs | None,
    new: NewPlays,
    user_id: np.ndarray,
    video_id: np.ndarray,
    *,
    cluster: ClusterSettings,
) -> AddedPlays:
    """Write the pairs of known and new plays.

    Args:
        folder: where to; not where the known pairs are.
        known: the pairs of all plays so far; None if there are none.
        new: its files have been compared with their checksums.
        user_id, video_id: int64, ascending, all users and videos that have a row and a bit in the file; those
            of the known pairs and of the new plays are among them.
    """
    rows = np.full(len(user_id), -1) if known is None else known.rows_of(user_id)
    bits = None if known is None else known.over(video_id)
    at_once = _users_of_range(len(user_id), len(video_id), cluster)
    ranges = [slice(start, start + at_once) for start in range(0, len(user_id), at_once)]
    tasks = ((user_id[some], video_id, bits, rows[some], new) for some in ranges)
    added = []

    def groups() -> Iterator[np.ndarray]:
        for of_range, found in run_each(cluster, _add_to_range, tasks):
            added.append(found)
            yield from in_groups(of_range)

    write_pairs(folder, user_id, video_id, groups())
    return AddedPlays.together(added or [_counted([], [], [])])


def _users_of_range(users: int, videos: int, cluster: ClusterSettings) -> int:
    """How many users a range has: whole row groups of the file."""
    fitting = whole_groups(RANGE_BYTES // max(-(-videos // 8), 1))
    return max(min(fitting, whole_groups(-(-users // workers(cluster)), up=True)), whole_groups(1, up=True))


def _add_to_range(
    user_id: np.ndarray, video_id: np.ndarray, known: StoredBits | None, rows: np.ndarray, new: NewPlays
) -> tuple[np.ndarray, AddedPlays]:
    """The bits of some consecutive users, with those of their new plays: uint8 [users, videos / 8]."""
    shape = len(user_id), -(-len(video_id) // 8)
    bits = np.zeros(shape, dtype=np.uint8) if known is None else known.read(rows)
    users, videos = IdCodes(user_id), IdCodes(video_id)
    of_users, of_videos, repeats = [], [], []
    of_range = pl.col(columns.USER_ID).is_between(int(user_id[0]), int(user_id[-1]))
    for day in new.days:
        plays = new.gained.scan_new(day).select(PAIR).filter(of_range).collect()
        if plays.is_empty():
            continue
        user, video = (
            codes.of_known(plays[key].to_numpy()) for key, codes in zip(PAIR, (users, videos), strict=True)
        )
        is_first = set_bits(bits, user, video, np.ones(len(user), dtype=np.bool_))
        of_users.append(_per_key(user[is_first], user_id, columns.USER_ID, day))
        of_videos.append(_per_key(video[is_first], video_id, columns.VIDEO_ID, day))
        if new.repeats_before is not None and day < new.repeats_before:
            repeats.append(plays.filter(~pl.Series(is_first)).with_columns(pl.lit(day).alias(DAY)))
    return bits, _counted(of_users, of_videos, repeats)


def _per_key(code: np.ndarray, ids: np.ndarray, key: str, day: date) -> pl.DataFrame:
    counts = np.bincount(code, minlength=len(ids))
    there = np.flatnonzero(counts)
    return pl.DataFrame({key: ids[there], DAY: day, FIRST_PLAYS: counts[there]}, schema=_schema(key))


def _counted(
    of_users: list[pl.DataFrame], of_videos: list[pl.DataFrame], repeats: list[pl.DataFrame]
) -> AddedPlays:
    user, video = PAIR
    none = pl.DataFrame(schema={user: pl.Int64, video: pl.Int64, DAY: pl.Date})
    users, videos = pl.DataFrame(schema=_schema(user)), pl.DataFrame(schema=_schema(video))
    return AddedPlays(
        pl.concat([users, *of_users]), pl.concat([videos, *of_videos]), pl.concat([none, *repeats])
    )


def _schema(key: str) -> dict[str, pl.DataType | type[pl.DataType]]:
    return {key: pl.Int64, DAY: pl.Date, FIRST_PLAYS: pl.Int64}
