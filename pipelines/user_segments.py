"""Each user's value of each segment's column, as known at an instant."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from nightreel.core import columns
from nightreel.core.settings import ListSettings, Paths
from pipelines.known import read_known
from pipelines.segment_columns import segment_columns


def users_by_segment(
    paths: Paths, settings: ListSettings, known_at: datetime, segments: Sequence[str] | None = None
) -> pl.DataFrame:
    """Each user's value of every segment's column, for the users in the user file.

    Args:
        segments: the columns; by default those of the setting.

    Returns:
        user_id, and a text column per segment, null where unknown.

    Raises:
        InputError: if the user file has no such column, or it has too many values for a list each.
    """
    users = read_known(paths, "users").at(known_at, [columns.USER_ID]).table
    column_of = segment_columns(users, settings.shared.segments if segments is None else segments)
    return users.select(columns.USER_ID, *(_text(users[name]).alias(one) for one, name in column_of.items()))


def _text(values: pl.Series) -> pl.Series:
    """Values as text."""
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    return values.cast(pl.String)
