"""How each user has received each first-level category: one list per user and day with plays.

It is a view of users, so that a reader asks for a user and a video without naming a category: the on-demand
view `category_lift` picks the video's. A play counts once its day has ended and its video's category is
known.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.formulas import lift
from nightreel.core.settings.needs import FeatureNeeds, HomeNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.category_counts import CATEGORY, LIKED, PLAYS, CategoryCounts
from pipelines.features.facts import ViewFacts
from pipelines.features.points import VISIBLE
from pipelines.features.source_rows import is_source_of, note_source, write_rows, write_rows_from
from pipelines.known import require_tables
from pipelines.local_days import INSTANT, start_of_day, starts_of_dates

_FOLDER = "user_categories"
_ROW = "row"
# Cells of users' days and categories at a time.
_CELLS = 4_000_000


def build_user_categories(settings: FeatureNeeds, *, force: bool = False) -> StepResult[ViewFacts]:
    """Write the source of `user_categories`: a row per user and day with a play of a known category.

    Raises:
        InputError: if a table or a source that it reads is missing.
    """
    read, path = _read_files(settings), settings.paths.feature_source(columns.USER_CATEGORIES)
    require_tables(read)
    attempt = USER_CATEGORIES.attempt(settings, read, force=force)
    if attempt.known is not None:
        return USER_CATEGORIES.skipped(read, (path,), attempt.known)
    attempt.begin()
    folder = settings.paths.state / "values_of_days" / _FOLDER
    decisive = fingerprint(settings=USER_CATEGORIES.settings_in(settings))
    counts = CategoryCounts.of(settings, folder, decisive, force=force)
    nobody = BUILTIN.view(columns.USER_CATEGORIES).conformed(_nobody())
    if counts.same_before is not None and not is_source_of(folder, path, nobody):
        counts = CategoryCounts.of(settings, folder, decisive, force=True)
    with atomic_write(path, checksum=True) as temporary:
        if counts.same_before is None:
            rows = write_rows(_frames(counts, settings), temporary)
        else:
            start = start_of_day(counts.same_before, settings.data.zone)
            rows = write_rows_from(path, start, _frames(counts, settings), temporary)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        counts.write(temporary, folder, decisive)
        note_source(temporary, path)
    facts = ViewFacts(rows_of_views={columns.USER_CATEGORIES: rows})
    return attempt.finished(read, (path,), facts, outputs=(path,))


def _frames(counts: CategoryCounts, settings: FeatureNeeds) -> Iterator[pl.DataFrame]:
    """The source's rows from `same_before` on, or all of them, in parts of some users each."""
    own = BUILTIN.view(columns.USER_CATEGORIES)
    usual = pl.read_parquet(
        settings.paths.feature_source(columns.USER_ACTIVITY),
        columns=[columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE],
    )
    names = [columns.USER_ID, CATEGORY, VISIBLE, PLAYS, LIKED]
    rows, first = counts.rows.select(names), counts.same_before
    if first is not None:
        # All earlier counts of these users, as one day's counts.
        before = counts.before.join(rows.select(columns.USER_ID).unique(), on=columns.USER_ID, how="semi")
        day_before = pl.lit(first - timedelta(days=1), dtype=pl.Date).alias(VISIBLE)
        rows = pl.concat([before.with_columns(day_before).select(names), rows])
    for part in _parts_of_users(rows.sort(columns.USER_ID)):
        lists = own.conformed(_lists(part, usual, settings.data.zone))
        if first is not None:
            start = pl.lit(start_of_day(first, settings.data.zone), dtype=INSTANT)
            lists = lists.filter(pl.col(columns.EVENT_TIMESTAMP) >= start)
        yield lists


def _parts_of_users(counts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The counts by some users at a time: at least one part."""
    rows = counts.select(columns.USER_ID, VISIBLE).unique().sort(columns.USER_ID)
    users, first = np.unique(rows[columns.USER_ID].to_numpy(), return_index=True)
    part = first * counts[CATEGORY].n_unique() // _CELLS
    borders = counts[columns.USER_ID].search_sorted(users[1:][np.diff(part) > 0]).to_numpy()
    for start, stop in pairwise([0, *borders.tolist(), counts.height]):
        yield counts[start:stop]


def _lists(counts: pl.DataFrame, usual: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """A row per user and day with counts: the categories played by then, and the lift of each.

    Args:
        counts: of some users, in order.
        usual: each user's share of liked plays by the end of each of their days, in order.
    """
    keys = [columns.USER_ID, VISIBLE]
    rows = counts.select(keys).unique().sort(keys)
    row = counts.join(rows.with_row_index(_ROW), on=keys, how="left", maintain_order="left")[_ROW]
    categories, column = np.unique(counts[CATEGORY].to_numpy(), return_inverse=True)
    cell = row.to_numpy().astype(np.int64) * len(categories) + column
    user = rows[columns.USER_ID].to_numpy()
    shape = (len(user), len(categories))
    plays, liked = (
        _so_far(np.bincount(cell, counts[name].to_numpy(), np.prod(shape)).reshape(shape), user)
        for name in (PLAYS, LIKED)
    )
    stamped = rows.select(
        columns.USER_ID, starts_of_dates(rows[VISIBLE], zone).alias(columns.EVENT_TIMESTAMP)
    ).join_asof(usual, on=columns.EVENT_TIMESTAMP, by=columns.USER_ID, check_sortedness=False)
    lifts = lift(liked, plays, stamped[columns.USER_AGG_LIKED_SHARE].to_numpy()[:, None])
    played = plays > 0
    offsets = pa.array(np.append(0, np.cumsum(played.sum(axis=1))), pa.int64())
    found = {
        columns.USER_CATEGORY_IDS: categories[np.flatnonzero(played) % len(categories)],
        columns.USER_CATEGORY_LIFTS: lifts[played].astype(np.float32),
    }
    return stamped.with_columns(
        pl.Series(name, pa.LargeListArray.from_arrays(offsets, pa.array(of_lists)))
        for name, of_lists in found.items()
    )


def _nobody() -> pl.DataFrame:
    """The columns of `_lists`, without rows."""
    ids, lifts = columns.USER_CATEGORY_IDS, columns.USER_CATEGORY_LIFTS
    lists = {ids: pl.List(pl.Int64), lifts: pl.List(pl.Float32)}
    return pl.DataFrame(schema={columns.USER_ID: pl.Int64, columns.EVENT_TIMESTAMP: INSTANT, **lists})


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


def _read_files(settings: HomeNeeds) -> tuple[Path, ...]:
    sources = map(settings.paths.feature_source, (columns.VIDEO_PROFILE, columns.USER_ACTIVITY))
    return (settings.paths.interactions, *sources)


USER_CATEGORIES: Step[ViewFacts] = Step(
    name="likes by category",
    does="Build the lists of how each user has received each first-level category.",
    reads=_read_files,
    writes=lambda settings: (settings.paths.feature_source(columns.USER_CATEGORIES),),
    settings=("data.time_zone", "data.targets.like_threshold", "data.targets.long_view_s"),
    facts=ViewFacts,
    run=lambda settings, request: build_user_categories(settings, force=request.force),
)
