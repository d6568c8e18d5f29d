"""The features whose catalogue entries have an expression: built from the validated tables, view by view."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.catalogue import View, catalogue_of
from nightreel.core.catalogue.own import module_text
from nightreel.core.checksums import remove_with_checksum
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import DataSettings, FeatureSettings, Paths
from nightreel.core.settings.needs import FeatureNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.features.expressed_plays import ExpressedPlays
from pipelines.features.expressed_records import expressed_records
from pipelines.features.facts import ViewFacts
from pipelines.features.kept_values import can_be_kept, write_kept
from pipelines.features.over_days import over_days, visible_from
from pipelines.known import read_known, require_tables
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

_RECORD = "features-of-"


def build_expressed(settings: FeatureNeeds, *, force: bool = False) -> StepResult[ViewFacts]:
    """Write the views whose features have expressions; those that are no longer asked for are removed.

    Each view is skipped where its table, entries and settings are the same.

    Raises:
        InputError: if a module of the user's, or one of its expressions, is wrong.
    """
    views = _views(settings.data, settings.features)
    of_plays = [view for view in views if view.features[0].table == "plays" and not can_be_kept(view)]
    files = list(files_by_day(settings.paths.interactions).values())
    plays = cache(lambda: ExpressedPlays(of_plays, settings, files))
    parts = [_build(view, plays, settings, force=force) for view in views]
    _remove_others(views, settings.paths)
    return StepResult(
        EXPRESSED.name,
        all(part.skipped for part in parts),
        tuple(dict.fromkeys(path for part in parts for path in part.read)),
        tuple(path for part in parts for path in part.wrote),
        ViewFacts(rows_of_views={view: n for part in parts for view, n in part.facts.rows_of_views.items()}),
    )


def _views(data: DataSettings, features: FeatureSettings) -> list[View]:
    return [
        view
        for view in catalogue_of(data, features).stored
        # Views of pairs from a user's module are always built: someone reads them, or they would not be
        # declared.
        if view.is_expressed and (features.pair_views or view.module or not view.is_of_pairs)
    ]


def _build(
    view: View, plays: Callable[[], ExpressedPlays], settings: FeatureNeeds, *, force: bool
) -> StepResult[ViewFacts]:
    """Build one view unless it is up to date; `plays` is called only if it is not."""
    read = _inputs(view, settings.paths)
    require_tables(read)
    path = settings.paths.feature_source(view.name)
    decisive = {
        "entries": [(one.name, one.type, one.days, one.combine, str(one.value)) for one in view.features],
        # A function that an expression calls may have changed although the expression's text has not.
        "module": module_text(view.module) if view.module else None,
    }
    attempt = EXPRESSED.attempt(settings, read, force=force, record=f"{_RECORD}{view.name}", **decisive)
    if attempt.known is not None:
        return EXPRESSED.skipped(read, (path,), attempt.known)
    attempt.begin()
    if can_be_kept(view):
        digest = fingerprint(settings=EXPRESSED.settings_in(settings), **decisive)
        rows = write_kept(view, settings, digest, force=force)
    else:
        if view.features[0].table == "plays":
            parts = plays().parts(view)
        else:
            parts = iter((_rows_of(view, settings.paths, settings.data),))
        with atomic_write(path, checksum=True) as temporary:
            rows = write_frames((over_days(part, view, settings.data.zone) for part in parts), temporary)
    return attempt.finished(read, (path,), ViewFacts(rows_of_views={view.name: rows}), outputs=(path,))


def write_frames(frames: Iterator[pl.DataFrame], path: Path) -> int:
    """Write frames of the same columns, at least one, to one file; returns their rows."""
    first = next(frames).to_arrow(compat_level=pl.CompatLevel.oldest())
    rows = int(first.num_rows)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
            rows += frame.height
    return rows


def _remove_others(views: Iterable[View], paths: Paths) -> None:
    known = {view.name for view in views}
    for record in paths.state.glob(f"{_RECORD}*.json"):
        name = record.stem.removeprefix(_RECORD)
        if name not in known:
            remove_with_checksum(paths.feature_source(name))
            record.unlink()


def _inputs(view: View, paths: Paths) -> tuple[Path, ...]:
    if view.features[0].table == "plays":
        return paths.interactions, paths.feature_source(columns.VIDEO_PROFILE)
    if view.features[0].table == "video_daily":
        return (paths.video_daily,)
    return (paths.table(view.features[0].table),)


def _rows_of(view: View, paths: Paths, settings: DataSettings) -> pl.DataFrame:
    """The rows that a view's expressions aggregate, in order of time, with VISIBLE; plays apart."""
    table = view.features[0].table
    if table == "video_daily":
        return expressed_records(list(files_by_day(paths.video_daily).values()), view)
    known = read_known(paths, table).versions()
    if columns.CREATED_TIMESTAMP not in known.columns:
        always = pl.lit(ALWAYS_KNOWN, dtype=INSTANT)
        known = known.with_columns(always.alias(columns.CREATED_TIMESTAMP))
    known = known.sort(columns.CREATED_TIMESTAMP, maintain_order=True)
    return known.with_columns(visible_from(known[columns.CREATED_TIMESTAMP], settings.zone))


EXPRESSED: Step[ViewFacts] = Step(
    name="features from expressions",
    does="Build the views whose features are expressions.",
    reads=lambda settings: tuple(
        dict.fromkeys(
            path
            for view in _views(settings.data, settings.features)
            for path in _inputs(view, settings.paths)
        )
    ),
    writes=lambda settings: tuple(
        settings.paths.feature_source(view.name) for view in _views(settings.data, settings.features)
    ),
    settings=("data.time_zone", "data.targets.like_threshold", "data.targets.long_view_s"),
    facts=ViewFacts,
    run=lambda settings, request: build_expressed(settings, force=request.force),
)
