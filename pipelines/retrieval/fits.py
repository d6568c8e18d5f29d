"""Fits every chosen source at a cutoff, and keeps the fits for the next use of the same plays."""

import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import is_usable
from nightreel.core.extras import INSTALL_SEQUENCE, SEQUENCE, WITHOUT_SEQUENCE, has_sequence
from nightreel.core.logs import get_logger, progress
from nightreel.core.settings import DataSettings, RetrievalSettings
from nightreel.core.settings.needs import RankerNeeds, SourceNeeds
from pipelines.local_days import start_of_day
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES, file_name, source_of
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, LearnsFromMore

_CUTOFFS_KEPT = 40
# Settings that a fit depends on, beside its plays and the label that says which are liked.
_DECISIVE = ("seed", "features.als.factors")

_log = get_logger(__name__)


def source_names(settings: RetrievalSettings) -> tuple[str, ...]:
    """The sources that the settings name, in their order, without `sequence` where JAX is not installed."""
    names = tuple(settings.sources.split(","))
    if SEQUENCE in names and not has_sequence():
        _say_without_sequence()
        return tuple(name for name in names if name != SEQUENCE)
    return names


@cache
def _say_without_sequence() -> None:
    """Log it once per process, as a run fits its sources at many cutoffs."""
    _log.warning(f"{WITHOUT_SEQUENCE}. {INSTALL_SEQUENCE}")


def without_sources(settings: RankerNeeds, names: Collection[str]) -> RankerNeeds:
    """The settings less some of the candidate sources, which are then not fitted."""
    kept = [name for name in settings.retrieval.sources.split(",") if name not in names]
    return settings.changed({"retrieval.sources": ",".join(kept)}) if names else settings


def fitted_arrays(
    past: Past, settings: SourceNeeds, names: tuple[str, ...] | None = None
) -> Mapping[str, Arrays]:
    """Fit each chosen source on these plays, or read its fit from data/retrieval if it is there.

    A file is named by its source and a digest of the plays and settings, so a night whose earlier plays are
    the same finds the fits of the night before.

    Args:
        names: by default those of the setting `[retrieval] sources`.
    """
    names = source_names(settings.retrieval) if names is None else names
    paths = _paths_of_fits(names, past, settings)

    def fitted(name: str) -> Arrays:
        found = _fitted(name, paths[name], past, settings)
        advance()
        return found

    if not all(path.is_file() for path in paths.values()):
        past.of_some_users(PLAYS_MAX, settings.seed)  # before several threads ask for them
    title = f"sources {past.cutoff:%Y-%m-%d}"
    # Several at a time, because most of them use one thread. BLAS is held to one thread meanwhile.
    with (
        progress(title, total=len(names)) as advance,
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(settings.threads) as pool,
    ):
        waiting = {name: pool.submit(fitted, name) for name in names if name in SOURCES}
        # An own source need not support threads.
        own = {name: fitted(name) for name in names if name not in SOURCES}
        found = {name: own[name] if name in own else waiting[name].result() for name in names}
    past.forget_chosen()
    _forget_oldest(settings.paths.retrieval)
    return found


def last_cutoff(as_of: datetime, settings: DataSettings) -> datetime:
    """The local midnight at or before an instant, which is the cutoff of the sources used at it."""
    return start_of_day(as_of.astimezone(settings.zone).date(), settings.zone)


def _paths_of_fits(names: Collection[str], past: Past, settings: SourceNeeds) -> dict[str, Path]:
    decisive = [
        past.cutoff.isoformat(),
        *(f"{name} = {settings.value(name)}" for name in _DECISIVE),
    ]

    def folder(*more: str) -> Path:
        return settings.paths.retrieval / f"{past.cutoff:%Y%m%dT%H%M%S}-{past.digest([*decisive, *more])}"

    usual = folder()
    paths = {name: usual / file_name(name) for name in names}
    if SEQUENCE in names and not settings.lists.exclude.is_new_only:
        # The day that stops its training is judged by other plays.
        paths[SEQUENCE] = folder("watched videos are listed again") / file_name(SEQUENCE)
    return paths


def _fitted(name: str, path: Path, past: Past, settings: SourceNeeds) -> Arrays:
    source = source_of(name)
    if path.is_file() and is_usable(path):
        try:
            with np.load(path) as stored:
                kept = dict(stored)
            if not isinstance(source, LearnsFromMore) or source.is_current(kept, past, settings):
                return kept
        except (OSError, ValueError, EOFError, BadZipFile):
            # From an older nightreel, without a checksum.
            _log.warning("cannot be read, so it is made again", file=str(path))
    arrays = source.fit(past, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, checksum=True) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return arrays


def _forget_oldest(folder: Path) -> None:
    """Keep the fits of the newest cutoffs only; names begin with the cutoff."""
    for old in sorted((path for path in folder.iterdir() if path.is_dir()), reverse=True)[_CUTOFFS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
