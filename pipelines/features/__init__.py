"""Features: validated tables in, the parquet sources of the feature views out, each value stamped when known.

Everything obeys "known strictly before": a row's event_timestamp is an instant at which all that it contains
had already happened, so Feast's join (feature instant <= entity instant) never shows a play its own day.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.checksums import require_as_written
from nightreel.core.cluster import engine
from nightreel.core.logs import progress
from nightreel.core.play_days import is_day_file
from nightreel.core.settings.needs import FeatureNeeds, FitNeeds, HomeNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.collaborative import FACTORS, build_factors
from pipelines.features.activity import overall_so_far, user_activity, video_engagement
from pipelines.features.daily_sums import SumsSoFar, daily_sums, note_sources
from pipelines.features.descriptions import kept_descriptions
from pipelines.features.expressed import EXPRESSED, build_expressed
from pipelines.features.facts import FeaturesFacts, ViewFacts
from pipelines.features.over_days import without_rows
from pipelines.features.pieces import by_key
from pipelines.features.popularity import write_popularity
from pipelines.features.profiles import OF_ITEMS, user_profile, video_profile
from pipelines.features.source_rows import write_source
from pipelines.features.user_categories import USER_CATEGORIES, build_user_categories
from pipelines.features.user_text import USER_TEXT, build_user_text
from pipelines.known import read_known, require_tables, table_files
from pipelines.local_days import ALWAYS_KNOWN
from pipelines.text import TEXT, build_text

__all__ = ["ALWAYS_KNOWN", "FEATURES", "build_aggregates", "build_features"]

_VIEWS = (
    columns.USER_PROFILE,
    columns.USER_ACTIVITY,
    columns.VIDEO_PROFILE,
    columns.VIDEO_DAILY_POPULARITY,
    columns.VIDEO_ENGAGEMENT,
)
_FROM_SUMS = columns.USER_ACTIVITY, columns.VIDEO_ENGAGEMENT
_TABLES = ("users", "video_captions")


def build_features(settings: FitNeeds, *, force: bool = False) -> StepResult[FeaturesFacts]:
    """Write every feature source: profiles, aggregates, own features, text, factors; skip what is done.

    Raises:
        InputError: if a table is missing or not as ingest wrote it, or one of the [features] modules is
            wrong.
    """
    with FEATURES.alone(settings):
        # Days of plays are checked where they are read: a night reads only some of them.
        require_as_written(path for path in table_files(settings.paths) if not is_day_file(path))
        done = _run_parts(settings, force=force)
    return StepResult(
        step=FEATURES.name,
        skipped=all(part.skipped for part in done),
        read=tuple(dict.fromkeys(path for part in done for path in part.read)),
        wrote=tuple(path for part in done for path in part.wrote),
        facts=FeaturesFacts(parts=tuple(part.facts for part in done)),
    )


def _run_parts(settings: FitNeeds, *, force: bool) -> list[StepResult[Any]]:
    """Run every part: the factors, which read plays alone, beside those that count.

    Where no fit is due, the likes by category are counted beside the expressions. Texts come after all of
    them: they, like the factors, set how many threads BLAS has in this process.
    """
    # A cluster is joined here, for both: by the main thread, as Ray wants it.
    with engine(settings.cluster), ThreadPoolExecutor(1, thread_name_prefix="beside") as beside:
        factors = beside.submit(build_factors, settings, force=force)
        aggregates = build_aggregates(settings, force=force)
        waiting = beside.submit(build_user_categories, settings, force=force)
        expressed = build_expressed(settings, force=force)
        is_mine = waiting.cancel()  # the factors are still being fitted
        categories = build_user_categories(settings, force=force) if is_mine else waiting.result()
        fitted = factors.result()
    texts = build_text(settings, force=force)
    of_users = build_user_text(settings, force=force)
    return [aggregates, expressed, categories, texts, of_users, fitted]


def build_aggregates(settings: FeatureNeeds, *, force: bool = False) -> StepResult[ViewFacts]:
    """Write the profiles and the daily aggregates of users and videos: all sources but text and factors.

    Raises:
        InputError: if a table that ingest writes is missing.
    """
    read, wrote = _read_files(settings), _sources_of_views(settings)
    require_tables(read)
    # A source that is older than a feature lacks its column.
    features = {view: BUILTIN.view(view).names for view in _VIEWS}
    attempt = AGGREGATES.attempt(settings, read, force=force, features=features)
    if attempt.known is not None:
        return AGGREGATES.skipped(read, wrote, attempt.known)
    attempt.begin()
    with engine(settings.cluster), progress("features", total=len(_VIEWS)) as advance:
        rows = {}
        for view, frame in _profiles(settings, sums := _sums(settings, force=force), force=force):
            with atomic_write(settings.paths.feature_source(view), checksum=True) as temporary:
                BUILTIN.view(view).conformed(frame).write_parquet(temporary, statistics=True)
            rows[view] = frame.height
            advance()
        for view, frame in _aggregates(settings, sums):
            path = settings.paths.feature_source(view)
            made = BUILTIN.view(view).conformed(frame).sort(columns.EVENT_TIMESTAMP, maintain_order=True)
            rows[view] = write_source(path, sums.start, [made], settings.paths)
            advance()
        note_sources(map(settings.paths.feature_source, _FROM_SUMS), settings)
        rows[columns.VIDEO_DAILY_POPULARITY] = write_popularity(settings, force=force)
        advance()
    return attempt.finished(read, wrote, ViewFacts(rows_of_views=rows), outputs=wrote)


def _read_files(settings: HomeNeeds) -> tuple[Path, ...]:
    return (settings.paths.interactions, settings.paths.video_daily, *map(settings.paths.table, _TABLES))


def _sources_of_views(settings: HomeNeeds) -> tuple[Path, ...]:
    return tuple(settings.paths.feature_source(view) for view in _VIEWS)


def _sums(settings: FeatureNeeds, *, force: bool) -> SumsSoFar:
    paths = settings.paths
    sources = [(paths.feature_source(view), without_rows(BUILTIN.view(view))) for view in _FROM_SUMS]
    return daily_sums(paths.interactions, settings, sources, force=force)


def _aggregates(settings: FeatureNeeds, found: SumsSoFar) -> Iterator[tuple[str, pl.DataFrame]]:
    """The view and the rows of each source that is made from sums of plays, from `start` on."""
    overall, before = overall_so_far(found.totals.days), found.before
    of_users, of_videos = [found.sums.users], [found.sums.videos]
    of_users.append(_no_totals(*of_users) if before is None else before.users)
    of_videos.append(_no_totals(*of_videos) if before is None else before.videos)
    data, cluster = settings.data, settings.cluster
    yield columns.USER_ACTIVITY, by_key(user_activity, columns.USER_ID, of_users, data, cluster, overall)
    yield (
        columns.VIDEO_ENGAGEMENT,
        by_key(video_engagement, columns.VIDEO_ID, of_videos, data, cluster, overall),
    )


def _no_totals(daily: pl.DataFrame) -> pl.DataFrame:
    return daily.clear().drop(columns.EVENT_TIMESTAMP)


def _profiles(settings: FeatureNeeds, found: SumsSoFar, *, force: bool) -> Iterator[tuple[str, pl.DataFrame]]:
    """The view and the rows of each profile; one at a time, so that only one is in memory."""
    yield columns.USER_PROFILE, user_profile(read_known(settings.paths, "users").versions())
    daily = kept_descriptions(settings, force=force)
    captions = read_known(settings.paths, "video_captions").versions()
    of_items = [name for name in OF_ITEMS if name in captions.columns]
    read_of_captions = (columns.VIDEO_ID, *columns.CATEGORY_LEVELS, *of_items, columns.CREATED_TIMESTAMP)
    captions = captions.select(read_of_captions)
    of_videos = [captions, daily, found.totals.durations]
    yield (
        columns.VIDEO_PROFILE,
        by_key(video_profile, columns.VIDEO_ID, of_videos, settings.data, settings.cluster),
    )


AGGREGATES: Step[ViewFacts] = Step(
    name="profiles and aggregates",
    does="Build the profiles and the daily aggregates of users and videos.",
    reads=_read_files,
    writes=_sources_of_views,
    settings=(
        "data.time_zone",
        "data.targets.like_threshold",
        "data.targets.long_view_s",
        "data.targets.watch_ratio_clip",
    ),
    facts=ViewFacts,
    run=lambda settings, request: build_aggregates(settings, force=request.force),
    record="features",
)

FEATURES: Step[FeaturesFacts] = Step(
    name="features",
    does="Build the parquet sources of the feature views, each value stamped when it became known.",
    reads=_read_files,
    writes=lambda settings: (settings.paths.features,),
    # The parts record what follows from these two: features' definitions, and the columns of users' texts.
    settings=("features.modules", "data.user_columns"),
    facts=FeaturesFacts,
    run=lambda settings, request: build_features(settings, force=request.force),
    parts=(AGGREGATES, EXPRESSED, USER_CATEGORIES, TEXT, USER_TEXT, FACTORS),
)
