"""Which group (author, category and so on) a video belongs to, as known on each day."""

import polars as pl

from nightreel.core import columns
from nightreel.core.instants import MICROSECOND
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.over_days import visible_from
from pipelines.features.points import VISIBLE

KNOWN_FROM = "known_from"  # pl.Date: the local day from whose beginning on a group is known


def group_changes(column: str, name: str, settings: FeatureNeeds) -> pl.DataFrame:
    """The groups of each video over time.

    Args:
        column: of the videos' profiles.
        name: what this column is called in the result.

    Returns:
        video_id, the group (int64) and KNOWN_FROM, in order of days and videos.
    """
    values = (
        pl.scan_parquet(settings.paths.feature_source(columns.VIDEO_PROFILE))
        .select(columns.VIDEO_ID, columns.EVENT_TIMESTAMP, pl.col(column).cast(pl.Int64).alias(name))
        .drop_nulls()
        .collect()
    )
    days = visible_from(values[columns.EVENT_TIMESTAMP] - MICROSECOND, settings.data.zone)
    changes = (
        values.with_columns(days.alias(KNOWN_FROM))
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .unique([columns.VIDEO_ID, KNOWN_FROM], keep="last", maintain_order=True)
    )
    changed = pl.col(columns.VIDEO_ID).is_first_distinct() | pl.col(name).ne(pl.col(name).shift(1))
    return (
        changes.filter(changed).select(columns.VIDEO_ID, name, KNOWN_FROM).sort(KNOWN_FROM, columns.VIDEO_ID)
    )


def with_groups_as_known(cells: pl.DataFrame, changes: pl.DataFrame, name: str) -> pl.DataFrame:
    """Add each cell's group as known on its day or, if none was, the first that became known later.

    Args:
        cells: video_id and VISIBLE, in order of VISIBLE.
        changes: from `group_changes`, of this name.

    Returns:
        The cells in their order, with the group and KNOWN_FROM; both null for a video without a group.
    """
    before, after = (
        cells.join_asof(
            changes,
            left_on=VISIBLE,
            right_on=KNOWN_FROM,
            by=columns.VIDEO_ID,
            strategy=strategy,
            coalesce=False,
            check_sortedness=False,
        )
        for strategy in ("backward", "forward")
    )
    return cells.with_columns(pl.coalesce(before[one], after[one]).alias(one) for one in (name, KNOWN_FROM))
