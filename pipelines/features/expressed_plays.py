"""The plays that expressions aggregate, with the groups of their videos: read once for all views of a run."""

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue import View
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.checksums import require_as_written
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.over_days import visible_from
from pipelines.features.points import VISIBLE
from pipelines.features.sums_of_days import LIKED, is_liked
from pipelines.features.video_groups import KNOWN_FROM, group_changes, with_groups_as_known

_CELL = "cell"
_PLAYS_AT_A_TIME = 1_000_000


class ExpressedPlays:
    """The plays of the log with `liked`, VISIBLE and what some views read, in order of time.

    Many plays are of one video and day, so a group is looked up once for each of these cells.
    """

    def __init__(
        self,
        views: Collection[View],
        settings: FeatureNeeds,
        files: list[Path],
        only: pl.Series | None = None,
    ) -> None:
        """Read the columns that the views need.

        Args:
            files: of the days to read, at least one.
            only: of the key with this name, plays of these ids alone; None for all.
        """
        self._settings = settings
        require_as_written(files)
        scan = pl.scan_parquet(files, hive_partitioning=False)
        self._stored = frozenset(scan.collect_schema())
        always = {
            columns.USER_ID,
            columns.VIDEO_ID,
            columns.EVENT_TIMESTAMP,
            columns.WATCH_RATIO,
            columns.PLAY_DURATION,
        }
        needed = always.union(*(roots_of(view) for view in views))
        if only is not None:
            scan = scan.filter(pl.col(only.name).is_in(only.implode()))
        plays = scan.select(name for name in scan.collect_schema() if name in needed).collect()
        self._plays = plays.with_columns(
            is_liked(pl.col(columns.WATCH_RATIO).cast(pl.Float64), settings.data).alias(LIKED),
            visible_from(plays[columns.EVENT_TIMESTAMP], settings.data.zone),
        )
        self._of_cells: dict[str, pl.DataFrame] = {}

    def parts(self, view: View) -> Iterator[pl.DataFrame]:
        """The plays with the view's keys and what its expressions read, at least one part.

        A play counts for its video's author or category once both are known: from the end of its day on, or
        of the later day that brought it. Views of users come as blocks of some users, in order of their ids,
        so that memory does not grow with the log.
        """
        if view.join_keys[0] != columns.USER_ID:
            yield self._rows(view, slice(None))
            return
        for chosen in self._of_users:
            yield self._rows(view, chosen)

    @cached_property
    def _cells(self) -> tuple[pl.DataFrame, pl.Series]:
        """The videos and days with plays, and the row of each play among them."""
        of_cell = [columns.VIDEO_ID, VISIBLE]
        cells = self._plays.select(of_cell).unique().sort(VISIBLE, columns.VIDEO_ID).with_row_index(_CELL)
        found = self._plays.select(of_cell).join(cells, on=of_cell, how="left", maintain_order="left")
        return cells, found[_CELL]

    @cached_property
    def _of_users(self) -> list[np.ndarray]:
        """The plays of some users each, in order of time."""
        user = self._plays[columns.USER_ID].to_numpy()
        by_user = np.argsort(user, kind="stable")
        ordered = user[by_user]
        borders = np.searchsorted(ordered, ordered[_PLAYS_AT_A_TIME::_PLAYS_AT_A_TIME])
        return [np.sort(part) for part in np.split(by_user, np.unique(borders))]

    def _rows(self, view: View, chosen: np.ndarray | slice) -> pl.DataFrame:
        read, keys = roots_of(view), set(view.join_keys)
        plays = self._plays.select(
            name for name in self._plays.columns if name in read | keys | {VISIBLE, columns.EVENT_TIMESTAMP}
        )[chosen]
        for group in GROUPS:
            if group.join_key not in read | keys or group.join_key in self._stored:
                continue
            cells, cell = self._cells
            if group.name not in self._of_cells:
                changes = group_changes(str(group.of_video), group.join_key, self._settings)
                self._of_cells[group.name] = with_groups_as_known(cells, changes, group.join_key)
            of_cells = self._of_cells[group.name]
            own, known = (of_cells[name].gather(cell[chosen]) for name in (group.join_key, KNOWN_FROM))
            if group.join_key in keys:
                late = pl.max_horizontal(VISIBLE, known)
                plays = plays.with_columns(own, late.alias(VISIBLE))
            else:
                in_time = known <= plays[VISIBLE]
                plays = plays.with_columns(pl.when(in_time).then(own).alias(group.join_key))
        return plays


def roots_of(view: View) -> set[str]:
    """The columns that a view's expressions read."""
    return {name for one in view.features if one.value is not None for name in one.value.meta.root_names()}
