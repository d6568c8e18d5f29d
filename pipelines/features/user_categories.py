"""How each user has received each first-level category: lists that grow with every day of theirs.

A view of users, so that readers ask for a user and a video and for no category; the on-demand view
`category_lift` picks the video's. A play counts once its day has ended and its video's category was known.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.formulas import lift
from nightreel.core.play_days import files_by_day, read_days
from nightreel.core.settings import Settings
from nightreel.core.settings.needs import FeatureNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.daily_sums import is_liked
from pipelines.features.expressed import write_frames
from pipelines.features.facts import ViewFacts
from pipelines.features.points import VISIBLE
from pipelines.features.video_groups import KNOWN_FROM, group_changes, with_groups_as_known
from pipelines.known import require_tables
from pipelines.local_days import starts_of_dates

_PLAYS, _LIKED, _CATEGORY, _ROW = "plays", "liked", "category", "row"
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
    own = BUILTIN.view(columns.USER_CATEGORIES)
    usual = pl.read_parquet(
        settings.paths.feature_source(columns.USER_ACTIVITY),
        columns=[columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE],
    )
    for counts in _parts_of_users(_counts(settings)):
        yield own.conformed(_lists(counts, usual, settings.data.zone))


def _counts(settings: FeatureNeeds) -> pl.DataFrame:
    """Plays and liked plays by user, category and the day from which on they count; in order of users."""
    changes = group_changes(columns.CATEGORY_LEVELS[0], _CATEGORY, settings)
    found = []
    for day, path in files_by_day(settings.paths.interactions).items():
        plays = read_days(
            [path], (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.PLAY_DURATION)
        )
        liked = is_liked(pl.col(columns.WATCH_RATIO).cast(pl.Float64), settings.data)
        cells = plays.select(columns.VIDEO_ID).unique()
        cells = cells.with_columns(pl.lit(day + timedelta(days=1)).alias(VISIBLE))
        known = with_groups_as_known(cells, changes, _CATEGORY).drop_nulls()
        of_videos = known.select(
            columns.VIDEO_ID, _CATEGORY, pl.max_horizontal(VISIBLE, KNOWN_FROM).alias(VISIBLE)
        )
        of_day = plays.join(of_videos, on=columns.VIDEO_ID)
        found.append(
            of_day.group_by(columns.USER_ID, _CATEGORY, VISIBLE).agg(
                pl.len().alias(_PLAYS), liked.sum().alias(_LIKED)
            )
        )
    return pl.concat(found).sort(columns.USER_ID)


def _parts_of_users(counts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The counts by some users at a time: at least one part."""
    rows = counts.select(columns.USER_ID, VISIBLE).unique().sort(columns.USER_ID)
    users, first = np.unique(rows[columns.USER_ID].to_numpy(), return_index=True)
    part = first * counts[_CATEGORY].n_unique() // _CELLS
    borders = counts[columns.USER_ID].search_sorted(users[1:][np.diff(part) > 0]).to_numpy()
    for start, stop in pairwise([0, *borders.tolist(), counts.height]):
        yield counts[start:stop]


def _lists(counts: pl.DataFrame, usual: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """A row per user and day with counts: the categories played by then, and the lift of each.

    Args:
        counts: of some users, in order.
        usual: each user's share of liked plays by the end of their days, in order.
    """
    keys = [columns.USER_ID, VISIBLE]
    rows = counts.select(keys).unique().sort(keys)
    row = counts.join(rows.with_row_index(_ROW), on=keys, how="left", maintain_order="left")[_ROW]
    categories, column = np.unique(counts[_CATEGORY].to_numpy(), return_inverse=True)
    cell = row.to_numpy().astype(np.int64) * len(categories) + column
    user = rows[columns.USER_ID].to_numpy()
    shape = (len(user), len(categories))
    plays, liked = (
        _so_far(np.bincount(cell, counts[name].to_numpy(), np.prod(shape)).reshape(shape), user)
        for name in (_PLAYS, _LIKED)
    )
    stamped = rows.select(
        columns.USER_ID, starts_of_dates(rows[VISIBLE], zone).alias(columns.EVENT_TIMESTAMP)
    ).join_asof(usual, on=columns.EVENT_TIMESTAMP, by=columns.USER_ID, check_sortedness=False)
    lifts = lift(liked, plays, stamped[columns.USER_AGG_LIKED_SHARE].to_numpy()[:, None])
    played = plays > 0
    offsets = pa.array(np.append(0, np.cumsum(played.sum(axis=1))), pa.int64())
    found = {
        columns.USER_CATEGORY_IDS: categories[np.nonzero(played)[1]],
        columns.USER_CATEGORY_LIFTS: lifts[played].astype(np.float32),
    }
    return stamped.with_columns(
        pl.Series(name, pa.LargeListArray.from_arrays(offsets, pa.array(of_lists)))
        for name, of_lists in found.items()
    )


def _so_far(values: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Running sums down each user's rows: float64 [rows, categories], of whole numbers.

    Args:
        user: of each row, ascending.
    """
    total = np.cumsum(values, axis=0)
    first = np.searchsorted(user, user)
    before = np.append(np.zeros((1, total.shape[1])), total, axis=0)[first]
    found: np.ndarray = total - before
    return found


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
