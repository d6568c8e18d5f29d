"""How each user has received each first-level category: lists that grow with every day of theirs.

A view of users, so that readers ask for a user and a video and for no category; the on-demand view
`category_lift` picks the video's. A play counts once its day has ended and its video's category was known.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.catalogue import View
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.formulas import lift
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from nightreel.core.settings.needs import FeatureNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.expressed import write_frames
from pipelines.features.expressed_plays import ExpressedPlays
from pipelines.features.facts import ViewFacts
from pipelines.features.over_days import nothing_of, values_of_days
from pipelines.features.points import VISIBLE
from pipelines.known import require_tables
from pipelines.local_days import starts_of_dates

_PLAYS, _LIKED = "user_first_level_category_plays", "user_first_level_category_liked"
_CATEGORY = "first_level_category"
_ROW = "row"
# Cells of users' days and categories at a time.
_CELLS = 4_000_000


def build_user_categories(settings: Settings, *, force: bool = False) -> StepResult[ViewFacts]:
    """Write the source of `user_categories`: a row per user and day with a play of a known category.

    Raises:
        InputError: if a table or a source that it reads is missing.
    """
    read, path = USER_CATEGORIES.reads(settings), settings.paths.feature_source(columns.USER_CATEGORIES)
    require_tables(read)
    attempt = USER_CATEGORIES.attempt(settings, read, force=force)
    if attempt.known is not None:
        return USER_CATEGORIES.skipped(read, (path,), attempt.known)
    attempt.begin()
    with atomic_write(path, checksum=True) as temporary:
        rows = write_frames(_frames(settings), temporary)
    facts = ViewFacts(rows_of_views={columns.USER_CATEGORIES: rows})
    return attempt.finished(read, (path,), facts, outputs=(path,))


def _frames(settings: FeatureNeeds) -> Iterator[pl.DataFrame]:
    """The source in parts, of some users each."""
    counted, own = _counted(), BUILTIN.view(columns.USER_CATEGORIES)
    usual = pl.read_parquet(
        settings.paths.feature_source(columns.USER_ACTIVITY),
        columns=[columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE],
    )
    files = list(files_by_day(settings.paths.interactions).values())
    for plays in ExpressedPlays([counted], settings, files).parts(counted):
        if plays[_CATEGORY].null_count() == plays.height:
            yield nothing_of(own)
            continue
        for values in _parts_of_users(values_of_days(plays, counted)):
            yield own.conformed(_lists(values, usual, settings.data.zone))


def _counted() -> View:
    """Plays and liked plays of a user with a category, without what else its view has."""
    view = BUILTIN.view(f"user_{_CATEGORY}")
    return replace(view, features=tuple(one for one in view.features if one.name in (_PLAYS, _LIKED)))


def _parts_of_users(values: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The values of single days, in order of users, by some users at a time: at least one part."""
    rows = values.select(columns.USER_ID, VISIBLE).unique().sort(columns.USER_ID)
    users, first = np.unique(rows[columns.USER_ID].to_numpy(), return_index=True)
    part = first * values[_CATEGORY].n_unique() // _CELLS
    borders = values[columns.USER_ID].search_sorted(users[1:][np.diff(part) > 0]).to_numpy()
    for start, stop in pairwise([0, *borders.tolist(), values.height]):
        yield values[start:stop]


def _lists(values: pl.DataFrame, usual: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """A row per user and day with values: the categories played by its end, and the lift of each.

    Args:
        values: plays and liked plays of single days, by user and category, in order of users.
        usual: each user's share of liked plays by the end of their days, in order.
    """
    keys = [columns.USER_ID, VISIBLE]
    rows = values.select(keys).unique().sort(keys)
    row = values.select(keys).join(rows.with_row_index(_ROW), on=keys, how="left", maintain_order="left")[
        _ROW
    ]
    categories, column = np.unique(values[_CATEGORY].to_numpy(), return_inverse=True)
    plays, liked = (
        _so_far(
            values[name].to_numpy(), row.to_numpy(), column, rows[columns.USER_ID].to_numpy(), len(categories)
        )
        for name in (_PLAYS, _LIKED)
    )
    stamped = rows.select(
        columns.USER_ID, starts_of_dates(rows[VISIBLE], zone).alias(columns.EVENT_TIMESTAMP)
    ).join_asof(usual, on=columns.EVENT_TIMESTAMP, by=columns.USER_ID, check_sortedness=False)
    lifts = lift(liked, plays, stamped[columns.USER_AGG_LIKED_SHARE].to_numpy()[:, None])
    played = plays > 0
    offsets = pa.array(np.append(0, np.cumsum(played.sum(axis=1))), pa.int64())
    found = {
        columns.USER_CATEGORY_IDS: categories[np.nonzero(played)[1]].astype(np.int32),
        columns.USER_CATEGORY_LIFTS: lifts[played].astype(np.float32),
    }
    return stamped.with_columns(
        pl.Series(name, pa.LargeListArray.from_arrays(offsets, pa.array(of_lists)))
        for name, of_lists in found.items()
    )


def _so_far(
    values: np.ndarray, row: np.ndarray, column: np.ndarray, user: np.ndarray, columns_: int
) -> np.ndarray:
    """Running sums down each user's rows: int64 [rows, columns]."""
    total = np.zeros((len(user), columns_), dtype=np.int64)
    total[row, column] = values
    np.cumsum(total, axis=0, out=total)
    first = np.searchsorted(user, user)
    before = np.where(first > 0, first - 1, 0)
    return total - np.where((first > 0)[:, None], total[before], 0)


USER_CATEGORIES: Step[ViewFacts] = Step(
    name="likes by category",
    does="Build the lists of how each user has received each first-level category.",
    reads=lambda settings: (
        settings.paths.interactions,
        settings.paths.feature_source(columns.VIDEO_PROFILE),
        settings.paths.feature_source(columns.USER_ACTIVITY),
    ),
    writes=lambda settings: (settings.paths.feature_source(columns.USER_CATEGORIES),),
    settings=("data.time_zone", "data.targets.like_threshold", "data.targets.long_view_s"),
    facts=ViewFacts,
    run=lambda settings, request: build_user_categories(settings, force=request.force),
)
