"""The features whose catalogue entries have an expression: built from the validated tables, view by view."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import polars as pl

from nightreel import columns
from nightreel.artefacts import StepRecord, StepResult, atomic_write, fingerprint, fingerprint_of_files
from nightreel.catalogue import View, catalogue_of
from nightreel.catalogue.entries import GROUPS
from nightreel.catalogue.own import module_text
from nightreel.checksums import checksum_file
from nightreel.errors import InputError
from nightreel.settings import Settings
from pipelines.features.over_days import VISIBLE, over_days, visible_from
from pipelines.known import read_known
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

LIKED = "liked"
_FILES = {
    "plays": "interactions",
    "video_daily": "video_daily",
    "users": "users",
    "video_captions": "video_captions",
}
_KEY_KNOWN = "key_known"
_RECORD = "features-of-"


def build_expressed(settings: Settings, *, force: bool = False) -> StepResult:
    """Write the views whose features have expressions; those of modules that are no longer named are removed.

    Each view is skipped where its table, entries and settings are the same. Raises InputError where a module
    of the user's, or one of its expressions, is wrong.
    """
    views = [view for view in catalogue_of(settings).stored if view.is_expressed]
    parts = [_build(view, settings, force=force) for view in views]
    _remove_others(views, settings)
    return StepResult(
        "features from expressions",
        all(part.skipped for part in parts),
        tuple(dict.fromkeys(path for part in parts for path in part.read)),
        tuple(path for part in parts for path in part.wrote),
        {name: value for part in parts for name, value in part.summary.items()},
    )


def _build(view: View, settings: Settings, *, force: bool) -> StepResult:
    read = _inputs(view, settings)
    path = settings.paths.feature_source(view.name)
    record = StepRecord(settings.paths.state / f"{_RECORD}{view.name}.json")
    current = fingerprint(
        files=fingerprint_of_files(read),
        entries=[(one.name, one.type, one.days, one.combine, str(one.value)) for one in view.features],
        # What an expression calls may have changed where it reads the same.
        module=module_text(view.module) if view.module else None,
        settings=settings.model_dump(include={"time_zone", "like_threshold"}),
    )
    if not force and record.is_done(current):
        return StepResult(view.name, True, read, (path,), record.summary())
    record.forget()
    frame = over_days(rows_of(view, settings), view, settings.zone)
    with atomic_write(path, checksum=True) as temporary:
        frame.write_parquet(temporary, statistics=True)
    rows = {f"{view.name}_rows": frame.height}
    record.finish(current, (path,), rows)
    return StepResult(view.name, False, read, (path,), rows)


def _remove_others(views: Iterable[View], settings: Settings) -> None:
    known = {view.name for view in views}
    for record in settings.paths.state.glob(f"{_RECORD}*.json"):
        name = record.stem.removeprefix(_RECORD)
        if name not in known:
            path = settings.paths.feature_source(name)
            path.unlink(missing_ok=True)
            checksum_file(path).unlink(missing_ok=True)
            record.unlink()


def _inputs(view: View, settings: Settings) -> tuple[Path, ...]:
    read = [settings.paths.table(_FILES[view.features[0].table])]
    if view.features[0].table == "plays":
        read.append(settings.paths.feature_source(columns.VIDEO_PROFILE))
    for path in read:
        if not path.is_file():
            raise InputError(f"{path}: no such table.", "Run `nightreel ingest` first.")
    return tuple(read)


def rows_of(view: View, settings: Settings) -> pl.DataFrame:
    """The rows that a view's expressions aggregate, in order of time, with VISIBLE and the view's keys."""
    table = view.features[0].table
    roots = {name for one in view.features if one.value is not None for name in one.value.meta.root_names()}
    if table == "plays":
        return _plays(view, roots, settings)
    if table == "video_daily":
        frame = pl.read_parquet(settings.paths.table(table)).sort(columns.VIDEO_ID, columns.LOCAL_DATE)
        return frame.with_columns((pl.col(columns.LOCAL_DATE) + pl.duration(days=1)).alias(VISIBLE))
    known = read_known(settings.paths, _FILES[table]).versions()
    if columns.CREATED_TIMESTAMP not in known.columns:
        always = pl.lit(ALWAYS_KNOWN, dtype=INSTANT)
        known = known.with_columns(always.alias(columns.CREATED_TIMESTAMP))
    known = known.sort(columns.CREATED_TIMESTAMP, maintain_order=True)
    return known.with_columns(visible_from(known[columns.CREATED_TIMESTAMP], settings.zone))


def _plays(view: View, roots: set[str], settings: Settings) -> pl.DataFrame:
    """Plays with `liked`, and the groups of their videos that the view is of or its expressions read.

    A play counts for its video's author or category once both are known: from the end of its day on, or of
    the later day that told it.
    """
    scan = pl.scan_parquet(settings.paths.table("interactions"))
    stored = set(scan.collect_schema())
    own_keys = {*view.join_keys}
    needed = [
        name
        for name in scan.collect_schema()
        if name in roots | own_keys | {columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.WATCH_RATIO}
    ]
    plays = scan.select(needed).collect()
    plays = plays.with_columns(
        (pl.col(columns.WATCH_RATIO).cast(pl.Float64) > settings.like_threshold).alias(LIKED),
        visible_from(plays[columns.EVENT_TIMESTAMP], settings.zone),
    )
    for group in GROUPS:
        if group.join_key not in roots | own_keys or group.join_key in stored:
            continue
        assert group.of_video is not None
        told = (
            pl.scan_parquet(settings.paths.feature_source(columns.VIDEO_PROFILE))
            .select(columns.VIDEO_ID, columns.EVENT_TIMESTAMP, group.of_video)
            .drop_nulls()
            .collect()
        )
        plays = _with_group(plays, told, group.of_video, group.join_key, settings)
        if group.join_key in own_keys:
            late = pl.max_horizontal(VISIBLE, _KEY_KNOWN)
            plays = plays.with_columns(late.alias(VISIBLE))
        else:
            known = pl.col(_KEY_KNOWN) <= pl.col(VISIBLE)
            plays = plays.with_columns(pl.when(known).then(group.join_key).alias(group.join_key))
        plays = plays.drop(_KEY_KNOWN)
    return plays


def _with_group(
    plays: pl.DataFrame, told: pl.DataFrame, feature: str, name: str, settings: Settings
) -> pl.DataFrame:
    """Plays with the group that their video had at their day's end, else the first that it was told to have.

    told: video_id, event_timestamp and the group, where it is known. Adds _KEY_KNOWN, the local day from
    whose beginning on it is known.
    """
    days = visible_from(told[columns.EVENT_TIMESTAMP] - timedelta(microseconds=1), settings.zone)
    changes = (
        told.select(columns.VIDEO_ID, pl.col(feature).cast(pl.Int64).alias(name), days.alias(_KEY_KNOWN))
        .sort(columns.VIDEO_ID, _KEY_KNOWN, maintain_order=True)
        .unique([columns.VIDEO_ID, _KEY_KNOWN], keep="last", maintain_order=True)
    )
    changed = pl.col(columns.VIDEO_ID).is_first_distinct() | pl.col(name).ne(pl.col(name).shift(1))
    changes = changes.filter(changed).sort(_KEY_KNOWN)
    # Of each video and day once: plays are many.
    asked = plays.select(columns.VIDEO_ID, VISIBLE).unique().sort(VISIBLE)
    found = []
    for strategy in ("backward", "forward"):
        joined = asked.join_asof(
            changes,
            left_on=VISIBLE,
            right_on=_KEY_KNOWN,
            by=columns.VIDEO_ID,
            strategy=strategy,
            coalesce=False,
            check_sortedness=False,
        )
        found.append(joined.filter(pl.col(name).is_not_null()))
        asked = joined.filter(pl.col(name).is_null()).select(columns.VIDEO_ID, VISIBLE)
    return plays.join(pl.concat(found), on=[columns.VIDEO_ID, VISIBLE], how="left", maintain_order="left")
