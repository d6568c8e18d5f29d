"""Features of users with groups of videos, such as their authors: a small table, looked up for any pair.

A pair of a user and a video takes the entry of the user and the video's group, so no row per pair is stored.
Its values are those that Feast's join gives for the same keys and instant; a test holds them equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl
from feast import FeatureStore

from feature_repo.home import current_settings
from nightreel.core import columns
from nightreel.core.ascending import indices_in
from pipelines.local_days import INSTANT
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.pair_keys import group_of, with_groups


@dataclass(frozen=True)
class PairTable:
    """The features of one view for users and videos as of an instant.

    Attributes:
        indices: of the features in a pair's row.
        keys: int64, ascending, user * (groups + 1) + group of each entry.
        values: float32 [features, entries + 1], the last of them NaN.
        of_video: int64 [videos], each video's group, `groups` where it has none.
    """

    indices: tuple[int, ...]
    keys: np.ndarray
    values: np.ndarray
    of_video: np.ndarray
    groups: int

    @classmethod
    def dense(cls, index: int, of_users: np.ndarray, of_video: np.ndarray) -> "PairTable":
        """The table of one feature that has a value for every user and group.

        Args:
            of_users: float32 [users, groups].
            of_video: as the attribute.
        """
        users, groups = of_users.shape
        keys = np.arange(users)[:, None] * (groups + 1) + np.arange(groups)
        values = np.append(of_users.ravel(), np.float32(np.nan))[None]
        return cls((index,), keys.ravel(), values, of_video, groups)

    def of_users(self, users: slice) -> "PairTable":
        """The same for some consecutive users, numbered from 0."""
        width = self.groups + 1
        first = users.start or 0
        start, stop = np.searchsorted(self.keys, [first * width, users.stop * width])
        values = np.append(self.values[:, start:stop], self.values[:, -1:], axis=1)
        return replace(self, keys=self.keys[start:stop] - first * width, values=values)

    def of_some_users(self, users: np.ndarray) -> "PairTable":
        """The same for users given by their positions, ascending; they are numbered from 0."""
        width = self.groups + 1
        user, group = np.divmod(self.keys, width)
        entries = np.flatnonzero(np.isin(user, users))
        keys = np.searchsorted(users, user[entries]) * width + group[entries]
        return replace(self, keys=keys, values=self.values[:, np.append(entries, -1)])

    def by_group(self, users: np.ndarray) -> np.ndarray:
        """Each feature of these users by group: float32 [features, users, groups + 1], NaN where unknown.

        The last group is that of videos without one.
        """
        width = self.groups + 1
        entry = np.full((len(users), width), -1, dtype=np.int64)
        starts = np.searchsorted(self.keys, users * width)
        stops = np.searchsorted(self.keys, (users + 1) * width)
        for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            entry[row, self.keys[start:stop] % width] = np.arange(start, stop)
        found: np.ndarray = self.values[:, entry]
        return found

    def grid(self, users: np.ndarray) -> list[np.ndarray]:
        """Each feature of these users with all videos: float32 [users, videos], NaN where unknown."""
        return [values[:, self.of_video] for values in self.by_group(users)]

    def pairs(self, user: np.ndarray, video: np.ndarray) -> list[np.ndarray]:
        """Each feature of some pairs: float32 [pairs], NaN where unknown, also of a user below 0."""
        group = self.of_video[video]
        if self._is_dense:
            entry = user * self.groups + group
            known = (user < len(self.keys) // self.groups) & (group < self.groups)
        else:
            entry, known = indices_in(self.keys, user * (self.groups + 1) + group)
        return [values[np.where(known & (user >= 0), entry, -1)] for values in self.values]

    @cached_property
    def _is_dense(self) -> bool:
        """Whether every user has an entry for every group."""
        users = int(self.keys[-1]) // (self.groups + 1) + 1 if len(self.keys) else 0
        return bool(users) and len(self.keys) == users * self.groups


def pair_tables(
    store: FeatureStore,
    encoding: FeatureEncoding,
    views: Mapping[str, slice],
    user_id: np.ndarray,
    video_id: np.ndarray,
    *,
    as_of: datetime,
    profiles_at: datetime,
) -> tuple[PairTable, ...]:
    """The tables of views whose keys are a user and a group of videos.

    Args:
        views: the columns of a row that each view fills.
        profiles_at: the instant as of which the videos' categories are read, since these have no event time.
    """
    if not views:
        return ()
    order = np.argsort(user_id, kind="stable")
    found = []
    for view, part in views.items():
        group = group_of(store, view)
        instant = profiles_at if group.of_video in columns.CATEGORY_LEVELS else as_of
        videos = pl.DataFrame({columns.VIDEO_ID: video_id}).with_columns(
            pl.lit(instant, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
        )
        own = pl.Series(with_groups(store, videos.to_arrow(), [view]).column(group.join_key))
        ids = own.unique().drop_nulls().sort()
        names = encoding.names[part]
        rows = (
            pl.scan_parquet(current_settings().paths.feature_source(view))
            .filter(
                pl.col(columns.EVENT_TIMESTAMP) <= pl.lit(as_of, dtype=INSTANT),
                pl.col(columns.USER_ID).is_in(pl.Series(user_id).implode()),
                pl.col(group.join_key).is_in(ids.implode()),
            )
            .sort(columns.USER_ID, group.join_key, columns.EVENT_TIMESTAMP)
            .group_by(columns.USER_ID, group.join_key, maintain_order=True)
            .agg(pl.col(names).last())
            .collect()
        )
        user = order[np.searchsorted(user_id[order], rows[columns.USER_ID].to_numpy())]
        keys = user * (len(ids) + 1) + ids.search_sorted(rows[group.join_key]).to_numpy().astype(np.int64)
        ascending = np.argsort(keys)
        values = np.array(
            [
                np.append(encoding.encode_column(name, rows[name].to_arrow())[ascending], np.float32(np.nan))
                for name in names
            ]
        )
        of_video = np.full(len(video_id), len(ids), dtype=np.int64)
        is_known = own.is_not_null().to_numpy()
        of_video[is_known] = ids.search_sorted(own.drop_nulls()).to_numpy()
        found.append(
            PairTable(tuple(range(part.start, part.stop)), keys[ascending], values, of_video, len(ids))
        )
    return tuple(found)
