"""Which value of each segment's column each user has, as far as it was known at an instant."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.log_layout import user_column
from nightreel.core.settings import ListSettings, Paths
from pipelines.known import read_known

_VALUES_MAX = 1_000


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
    names = [name for name in users.columns if name not in (columns.USER_ID, columns.CREATED_TIMESTAMP)]
    segments = settings.segments if segments is None else segments
    column_of = {one: user_column(one, names) for one in segments}
    for segment, column in column_of.items():
        if column not in names:
            known = [name for name in names if users[name].null_count() < users.height]
            raise InputError(
                f"[lists] segments: the users have no column {segment}; they have "
                f"{', '.join(known) or 'none'}.",
                "Name one of them, or leave it out.",
            )
        values = users[column].drop_nulls().n_unique()
        if values > _VALUES_MAX:
            raise InputError(
                f"[lists] segments: {segment} has {values} values, and each would have a list; at most "
                f"{_VALUES_MAX} can.",
                "Name a column of groups, such as a range.",
            )
    return users.select(columns.USER_ID, *(_text(users[name]).alias(one) for one, name in column_of.items()))


def _text(values: pl.Series) -> pl.Series:
    """Values as people write them."""
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    return values.cast(pl.String)
