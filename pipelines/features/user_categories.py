"""How each user has received each first-level category: one list per user and day with plays.

It is a view of users, so that a reader asks for a user and a video without naming a category: the on-demand
view `category_lift` picks the video's. A play counts once its day has ended and its video's category is
known.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.formulas import lift
from nightreel.core.memory import give_back_memory
from nightreel.core.settings.needs import FeatureNeeds, HomeNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.category_counts import (
    CATEGORY,
    LIKED,
    PLAYS,
    CategoryCounts,
    parts_of_users,
)
from pipelines.features.facts import ViewFacts
from pipelines.features.points import VISIBLE
from pipelines.features.source_rows import is_source_of, note_source, write_source
from pipelines.id_codes import codes_of
from pipelines.known import require_tables
from pipelines.local_days import INSTANT, start_of_day, starts_of_dates

_FOLDER = "user_categories"


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
    nobody = BUILTIN.view(columns.USER_CATEGORIES).conformed(_nobody())
    anew = force or not is_source_of(folder, path, nobody)
    with atomic_write(folder, checksum=True) as target:
        target.mkdir()
        counts = CategoryCounts.of(settings, folder, target, decisive, force=anew)
        same_before = counts.same_before
        start = None if same_before is None else start_of_day(same_before, settings.data.zone)
        rows = write_source(path, start, _frames(counts, settings), settings.paths)
        counts.write(target, decisive)
        note_source(target, path)
    give_back_memory()  # the factors may still be fitted
    facts = ViewFacts(rows_of_views={columns.USER_CATEGORIES: rows})
    return attempt.finished(read, (path,), facts, outputs=(path,))


def _frames(counts: CategoryCounts, settings: FeatureNeeds) -> Iterator[pl.DataFrame]:
    """The source's rows from `same_before` on, or all of them, in parts of some users each."""
    own = BUILTIN.view(columns.USER_CATEGORIES)
    usual = pl.read_parquet(
        settings.paths.feature_source(columns.USER_ACTIVITY),
        columns=[columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE],
    ).sort(columns.USER_ID, columns.EVENT_TIMESTAMP)
    first = counts.same_before
    for part in parts_of_users(counts.days):
        rows = part
        if first is not None:
            # All earlier counts of these users, as one day's counts.
            before = _of_users(counts.before, part).join(part, on=columns.USER_ID, how="semi")
            day_before = pl.lit(first - timedelta(days=1), dtype=pl.Date).alias(VISIBLE)
            rows = pl.concat([before.with_columns(day_before).select(part.columns), part])
        lists = own.conformed(_lists(rows, _of_users(usual, rows), settings.data.zone))
        if first is not None:
            start = pl.lit(start_of_day(first, settings.data.zone), dtype=INSTANT)
            lists = lists.filter(pl.col(columns.EVENT_TIMESTAMP) >= start)
        yield lists


def _of_users(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """What a frame in order of users has of those between the first and the last of some rows."""
    if rows.is_empty():
        return frame.clear()
    asked, users = rows[columns.USER_ID].to_numpy(), frame[columns.USER_ID].to_numpy()
    return frame[np.searchsorted(users, asked.min()) : np.searchsorted(users, asked.max(), side="right")]


def _lists(counts: pl.DataFrame, usual: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """A row per user and day with counts: the categories played by then, and the lift of each.

    Args:
        counts: of some users.
        usual: each user's share of liked plays by the end of each of their days, in order.
    """
    (user_ids, user), (days, day), (categories, category) = (
        codes_of(counts[name]) for name in (columns.USER_ID, VISIBLE, CATEGORY)
    )
    row, row_of_day = codes_of(pl.Series(user * len(days) + day))
    cell = row_of_day * len(categories) + category
    shape = (len(row), len(categories))
    plays, liked = (
        _so_far(np.bincount(cell, counts[name].to_numpy(), np.prod(shape)).reshape(shape), row // len(days))
        for name in (PLAYS, LIKED)
    )
    visible = pl.Series(days[row % len(days)]).cast(pl.Int32).cast(pl.Date)
    stamps = starts_of_dates(visible, zone).alias(columns.EVENT_TIMESTAMP)
    stamped = pl.DataFrame({columns.USER_ID: user_ids[row // len(days)]}).with_columns(stamps)
    stamped = stamped.join_asof(usual, on=columns.EVENT_TIMESTAMP, by=columns.USER_ID, check_sortedness=False)
    played = np.flatnonzero(plays)
    usual_share = stamped[columns.USER_AGG_LIKED_SHARE].to_numpy()[played // len(categories)]
    lifts = lift(liked.ravel()[played], plays.ravel()[played], usual_share)
    offsets = pa.array(np.append(0, np.cumsum(np.count_nonzero(plays, axis=1))), pa.int64())
    found = {
        columns.USER_CATEGORY_IDS: categories[played % len(categories)],
        columns.USER_CATEGORY_LIFTS: lifts.astype(np.float32),
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
