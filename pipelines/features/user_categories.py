"""How each user has received each first-level category: one list per user and day with plays.

It is a view of users, so that a reader asks for a user and a video without naming a category: the on-demand
view `category_lift` picks the video's. A play counts once its day has ended and its video's category is
known.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.formulas import lift
from nightreel.core.checksums import is_usable
from nightreel.core.settings.needs import FeatureNeeds, HomeNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.category_counts import CATEGORY, LIKED, PLAYS, CategoryCounts
from pipelines.features.expressed import write_frames
from pipelines.features.facts import ViewFacts
from pipelines.features.points import VISIBLE
from pipelines.known import require_tables
from pipelines.local_days import INSTANT, start_of_day, starts_of_dates

_FOLDER, _SOURCE = "user_categories", "source.json"
_ROW = "row"
# Cells of users' days and categories at a time.
_CELLS = 4_000_000
# Rows of earlier days and new ones that are put in order at a time.
_ROWS_AT_A_TIME = 65_536


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
    same_before = counts.same_before if _is_source_of(folder, path) else None
    with atomic_write(path, checksum=True) as temporary:
        rows = write_frames(_frames(counts.rows, path, same_before, settings), temporary)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        counts.write(temporary, decisive)
        (temporary / _SOURCE).write_text(json.dumps(fingerprint_of_files([path])), encoding="utf-8")
    facts = ViewFacts(rows_of_views={columns.USER_CATEGORIES: rows})
    return attempt.finished(read, (path,), facts, outputs=(path,))


def _is_source_of(folder: Path, path: Path) -> bool:
    """Whether the source is the one that was written together with the kept counts."""
    try:
        recorded = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(recorded == fingerprint_of_files([path]) and is_usable(path))


def _frames(
    counts: pl.DataFrame, source: Path, same_before: date | None, settings: FeatureNeeds
) -> Iterator[pl.DataFrame]:
    """The source in parts, of some users each.

    Args:
        counts: the rows of CategoryCounts.
        source: the present one.
        same_before: the source's rows of earlier days are carried over; None if there is no such source.
    """
    own = BUILTIN.view(columns.USER_CATEGORIES)
    usual = pl.read_parquet(
        settings.paths.feature_source(columns.USER_ACTIVITY),
        columns=[columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE],
    )
    if same_before is None:
        for part in _parts_of_users(counts.sort(columns.USER_ID)):
            yield own.conformed(_lists(part, usual, settings.data.zone))
        return
    new = counts.filter(pl.col(VISIBLE) >= same_before)
    # All earlier counts of these users, as one day's counts.
    before = (
        counts.lazy()
        .filter(pl.col(VISIBLE) < same_before)
        .group_by(columns.USER_ID, CATEGORY)
        .agg(pl.col(PLAYS, LIKED).sum())
        .collect()
        .join(new.select(columns.USER_ID).unique(), on=columns.USER_ID, how="semi")
        .with_columns(pl.lit(same_before - timedelta(days=1), dtype=pl.Date).alias(VISIBLE))
    )
    names = [columns.USER_ID, CATEGORY, VISIBLE, PLAYS, LIKED]
    start = pl.lit(start_of_day(same_before, settings.data.zone), dtype=INSTANT)
    kept = own.conformed(pl.scan_parquet(source).filter(pl.col(columns.EVENT_TIMESTAMP) < start).collect())
    changed = _parts_of_users(pl.concat([before.select(names), new.select(names)]).sort(columns.USER_ID))
    lists = (own.conformed(_lists(part, usual, settings.data.zone)) for part in changed)
    added = pl.concat([part.filter(pl.col(columns.EVENT_TIMESTAMP) >= start) for part in lists])
    rows = pl.concat([kept, added], rechunk=True)
    del kept, added
    order = rows.select(pl.arg_sort_by(columns.USER_ID, columns.EVENT_TIMESTAMP)).to_series()
    for first in range(0, max(len(order), 1), _ROWS_AT_A_TIME):
        yield rows[order[first : first + _ROWS_AT_A_TIME]]


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
