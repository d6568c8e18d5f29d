"""The users' columns that `[lists.shared] segments` names; they must have few values, as each gets a list."""

from collections.abc import Sequence

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.log_layout import user_column

_VALUES_MAX = 1_000


def segment_columns(users: pl.DataFrame, segments: Sequence[str]) -> dict[str, str]:
    """The column of the users' table for each segment.

    Raises:
        InputError: the users have no such column, or it has too many values for a list each.
    """
    names = [name for name in users.columns if name not in (columns.USER_ID, columns.CREATED_TIMESTAMP)]
    column_of = {one: user_column(one, names) for one in segments}
    for segment, column in column_of.items():
        if column not in names:
            known = [name for name in names if users[name].null_count() < users.height]
            raise InputError(
                f"[lists.shared] segments: the users have no column {segment}; they have "
                f"{', '.join(known) or 'none'}.",
                "Name one of them, or leave it out.",
            )
        values = users[column].drop_nulls().n_unique()
        if values > _VALUES_MAX:
            raise InputError(
                f"[lists.shared] segments: {segment} has {values} values, and each would have a list; "
                f"at most {_VALUES_MAX} can.",
                "Name a column of groups, such as a range.",
            )
    return column_of
