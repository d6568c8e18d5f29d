"""Features: validated tables in, the parquet sources of the feature views out, each value stamped when known.

Everything obeys "known strictly before": a row's event_timestamp is an instant at which all that it contains
had already happened, so Feast's join (feature instant <= entity instant) never shows a play its own day.
"""

from collections.abc import Iterator

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import StepRecord, StepResult, atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.checksums import require_as_written
from nightreel.core.cluster import engine
from nightreel.core.errors import InputError
from nightreel.core.locks import home_lock
from nightreel.core.logs import progress
from nightreel.core.settings import Settings
from pipelines import collaborative, text
from pipelines.features.activity import overall_so_far, user_activity, video_engagement
from pipelines.features.daily_sums import daily_sums
from pipelines.features.expressed import build_expressed
from pipelines.features.pieces import by_key
from pipelines.features.popularity import video_daily_popularity
from pipelines.features.profiles import DESCRIPTION, user_profile, video_profile
from pipelines.known import read_known, table_files
from pipelines.local_days import ALWAYS_KNOWN

__all__ = ["ALWAYS_KNOWN", "build_aggregates", "build_features"]

_VIEWS = (
    columns.USER_PROFILE,
    columns.USER_ACTIVITY,
    columns.VIDEO_PROFILE,
    columns.VIDEO_DAILY_POPULARITY,
    columns.VIDEO_ENGAGEMENT,
)
_TABLES = ("interactions", "users", "video_daily", "video_captions")


def build_features(settings: Settings, *, force: bool = False) -> StepResult:
    """Write every feature source: profiles, aggregates, own features, text, factors; skip what is done.

    Raises InputError where a table that ingest writes is missing or not as ingest wrote it, or one of
    [features] modules is wrong.
    """
    with home_lock(settings.paths.state, "features", wait_s=settings.home_wait_s):
        return _build_features(settings, force=force)


def _build_features(settings: Settings, *, force: bool) -> StepResult:
    require_as_written(table_files(settings.paths))
    parts = (
        build_aggregates(settings, force=force),
        build_expressed(settings, force=force),
        text.build_text(settings, force=force),
        collaborative.build_factors(settings, force=force),
    )
    return StepResult(
        step="features",
        skipped=all(part.skipped for part in parts),
        read=tuple(dict.fromkeys(path for part in parts for path in part.read)),
        wrote=tuple(path for part in parts for path in part.wrote),
        summary={name: value for part in parts for name, value in part.summary.items()},
    )


def build_aggregates(settings: Settings, *, force: bool = False) -> StepResult:
    """Write the profiles and the daily aggregates of users and videos: all sources but text and factors.

    Raises InputError where a table that ingest writes is missing.
    """
    read = tuple(settings.paths.table(name) for name in _TABLES)
    for path in read:
        if not path.is_file():
            raise InputError(f"{path}: no such table.", "Run `nightreel ingest` first.")
    wrote = tuple(settings.paths.feature_source(view) for view in _VIEWS)
    record = StepRecord(settings.paths.state / "features.json")
    current = fingerprint(
        files=fingerprint_of_files(read),
        # A source of before a feature was added lacks its column.
        features={view: BUILTIN.view(view).names for view in _VIEWS},
        settings=settings.chosen(
            {
                "data.time_zone",
                "data.like_threshold",
                "data.long_view_s",
                "data.watch_ratio_clip",
                "features.smoothing_plays",
            }
        ),
    )
    if not force and record.is_done(current):
        return StepResult("features", True, read, wrote, record.summary())
    record.forget()
    with engine(settings), progress("features", total=len(_VIEWS)) as advance:
        rows = {}
        for view, frame in _sources(settings, force=force):
            with atomic_write(settings.paths.feature_source(view), checksum=True) as temporary:
                BUILTIN.view(view).conformed(frame).write_parquet(temporary, statistics=True)
            rows[f"{view}_rows"] = frame.height
            advance()
    record.finish(current, wrote, rows)
    return StepResult("features", False, read, wrote, rows)


def _sources(settings: Settings, *, force: bool) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each view's name and source frame, one at a time so that only one stands in memory."""
    table = settings.paths.table
    yield columns.USER_PROFILE, user_profile(read_known(settings.paths, "users").versions())
    sums = daily_sums(table("interactions"), settings, force=force)
    overall = overall_so_far(sums.users)
    activity = by_key(user_activity, columns.USER_ID, [sums.users], settings, overall)
    yield columns.USER_ACTIVITY, activity
    engagement = by_key(video_engagement, columns.VIDEO_ID, [sums.videos], settings, overall)
    yield columns.VIDEO_ENGAGEMENT, engagement
    read = (columns.VIDEO_ID, columns.LOCAL_DATE, *DESCRIPTION, *columns.DAILY_COUNTS)
    scan = pl.scan_parquet(table("video_daily"))
    # Tables of small logs may have no tag.
    daily = scan.select(name for name in read if name in scan.collect_schema()).collect()
    popularity = by_key(video_daily_popularity, columns.VIDEO_ID, [daily], settings)
    yield columns.VIDEO_DAILY_POPULARITY, popularity
    captions = read_known(settings.paths, "video_captions").versions()
    captions = captions.select(columns.VIDEO_ID, *columns.CATEGORY_LEVELS, columns.CREATED_TIMESTAMP)
    of_videos = [captions, daily, sums.durations]
    yield columns.VIDEO_PROFILE, by_key(video_profile, columns.VIDEO_ID, of_videos, settings)
