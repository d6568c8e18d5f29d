"""The nightly step that compares the newest day's plays with the champion's training window.

Both samples are joined as of each play, so both distributions of a feature are of what the model reads at
that moment. The training window is represented by its last days: features that grow with the log's age, such
as a user's number of plays, have moved little since then.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.errors import InputError
from nightreel.core.play_days import files_by_day, rows_of
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import FitNeeds
from nightreel.core.steps import Facts, Step, StepResult
from nightreel.operations.drift import stored
from nightreel.operations.drift.distributions import Distribution, population_stability_index
from nightreel.operations.drift.samples import Column, Sample
from pipelines import model_registry
from pipelines.labels import LABEL_SETTINGS
from pipelines.local_days import end_of_day, start_of_day
from pipelines.model_registry import ModelVersion
from pipelines.rankers.slices import usual_days

# Above this a distribution has moved: the usual reading of the index.
MOVED = 0.25
_MISSING_MOVED, _UNKNOWN_MOVED = 0.1, 0.05
_PLAYS_FACTOR = 2.0
_LIKED_FACTOR, _STANDARD_ERRORS = 1.25, 3.0
_TRAINING_DAYS, _USUAL_DAYS = 7, 14
_NAMED = 3


class DriftFacts(Facts):
    """How many features and scores were compared, and which have moved, the largest shift first."""

    rows: int
    moved: list[str] | None = None

    @property
    def rows_written(self) -> int:
        """Number of features and scores compared."""
        return self.rows


class _Training(NamedTuple):
    """The days that trained a model: share of liked plays, number of plays, distributions by column."""

    liked: float
    plays: int
    columns: dict[str, Distribution]


def record_drift(settings: FitNeeds, now: datetime | None = None) -> StepResult[DriftFacts]:
    """Compare the newest day that had ended by `now` with the champion's training window.

    Stores the index and the shares of missing and unknown values for every feature and both scores, the
    number of plays and the share of liked ones. The summary's remark names what has moved since the night
    before. Skipped if the same plays and model were compared before, or there is no champion yet.
    """
    now = now or datetime.now(UTC)
    if model_registry.champion_name(settings.paths) is None:
        return DRIFT.skipped((), (), DriftFacts(rows=0))
    version = model_registry.champion(settings.paths)
    counts = _plays_by_day(settings.paths, settings.data, now)
    days = [day for day in counts if end_of_day(day, settings.data.zone) <= now]
    if not days:
        return DRIFT.skipped((), (), DriftFacts(rows=0))
    day = days[-1]
    current = fingerprint(day=str(day), plays=counts[day], model=version.version)
    newest = next(iter(stored.nights(settings.paths)), None)
    if newest is not None and newest["inputs"] == current:
        return DRIFT.skipped((), (), DriftFacts(rows=len(newest["columns"])))
    training = _training(settings, version)
    start, end = start_of_day(day, settings.data.zone), end_of_day(day, settings.data.zone)
    sample = Sample.of(start, end, version, settings)
    usual = float(np.median([counts[one] for one in days[-1 - _USUAL_DAYS : -1]] or [counts[day]]))
    compared = [_compared(column, training.columns[column.name]) for column in sample.columns]
    night: stored.DriftNight = {
        "night": str(day),
        "model_version": version.version,
        "inputs": current,
        "columns": compared,
        "plays": {"day": sample.plays, "usual": usual, "moved": _plays_moved(sample.plays, usual)},
        "liked": {
            "day": sample.liked,
            "training": training.liked,
            "moved": _liked_moved(sample, training),
        },
        "remarks": [],
    }
    night["remarks"] = _remarks(night, stored.before(settings.paths, day))
    path = stored.save(settings.paths, day, night)
    facts = DriftFacts(rows=len(compared), moved=_moved(night), remarks=tuple(night["remarks"]))
    return DRIFT.done((settings.paths.interactions,), (path,), facts)


def _plays_by_day(paths: Paths, settings: DataSettings, now: datetime) -> dict[date, int]:
    """Plays of each of the log's local days, ascending; later plays than `now` do not count."""
    counts = {}
    for day, path in files_by_day(paths.interactions).items():
        # No play of a day that has ended is read.
        counts[day] = rows_of([path]) if end_of_day(day, settings.zone) <= now else _plays_before(path, now)
    return usual_days(counts)


def _plays_before(path: Path, now: datetime) -> int:
    early = pl.scan_parquet(path).filter(pl.col(columns.EVENT_TIMESTAMP) < now)
    return int(early.select(pl.len()).collect().item())


def _training(settings: FitNeeds, version: ModelVersion) -> _Training:
    """Distributions over the last days that trained the version: made once, then kept."""
    path = stored.training_file(settings.paths, version.version)
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        of_columns = {name: Distribution.from_json(one) for name, one in kept["columns"].items()}
        return _Training(kept["liked"], kept["plays"], of_columns)
    end = version.fitted_before
    sample = Sample.of(end - timedelta(days=_TRAINING_DAYS), end, version, settings)
    if not sample.plays:
        raise InputError(
            f"No plays are left of the days that model {version.version} was trained on.", "Train again."
        )
    found = {
        column.name: Distribution.of(column.values, is_categorical=column.is_categorical, units=column.units)
        for column in sample.columns
    }
    facts = {"liked": sample.liked, "plays": sample.plays}
    with atomic_write(path) as temporary:
        content = facts | {"columns": {name: one.to_json() for name, one in found.items()}}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return _Training(sample.liked, sample.plays, found)


def _compared(column: Column, training: Distribution) -> stored.ColumnDrift:
    today = training.same_bins(column.values, units=column.units)
    index = population_stability_index(training, today)
    moved = (
        index > MOVED
        or abs(today.missing - training.missing) > _MISSING_MOVED
        or column.unknown > _UNKNOWN_MOVED
    )
    return {
        "name": column.name,
        "index": round(index, 4),
        "missing": round(today.missing, 4),
        "missing_training": round(training.missing, 4),
        "unknown": round(column.unknown, 4),
        "moved": moved,
    }


def _plays_moved(plays: int, usual: float) -> bool:
    return not usual / _PLAYS_FACTOR <= plays <= usual * _PLAYS_FACTOR


def _liked_moved(sample: Sample, training: _Training) -> bool:
    """Whether the share of liked plays differs by a quarter, and by more than chance gives."""
    before, after = training.liked, sample.liked
    pooled = (before * training.plays + after * sample.plays) / (training.plays + sample.plays)
    error = np.sqrt(pooled * (1 - pooled) * (1 / training.plays + 1 / sample.plays))
    factor = max(before, after) / max(min(before, after), 1e-9)
    return bool(factor > _LIKED_FACTOR and abs(after - before) > _STANDARD_ERRORS * error)


def _moved(night: stored.DriftNight) -> list[str]:
    """The columns that have moved, those that moved farthest first."""
    columns_moved = [column for column in night["columns"] if column["moved"]]
    return [column["name"] for column in sorted(columns_moved, key=lambda column: -column["index"])]


def _remarks(night: stored.DriftNight, before: stored.DriftNight | None) -> list[str]:
    """One line on what has moved since the night before; none if nothing has."""
    is_comparable = before is not None and before["model_version"] == night["model_version"]
    known = set(_moved(before)) if before is not None and is_comparable else set()
    indexes = {column["name"]: column["index"] for column in night["columns"]}
    new = [name for name in _moved(night) if name not in known]
    parts = []
    if night["plays"]["moved"]:
        parts.append(f"{night['plays']['day']:,} plays where {night['plays']['usual']:,.0f} are usual")
    if night["liked"]["moved"]:
        parts.append(f"liked {night['liked']['day']:.1%}, in training {night['liked']['training']:.1%}")
    if new:
        named = ", ".join(f"{name} ({indexes[name]:.2f})" for name in new[:_NAMED])
        more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        parts.append(f"moved since training: {named}{more}")
    return [f"drift of {night['night']}: {'; '.join(parts)}. See `nightreel drift`"] if parts else []


DRIFT: Step[DriftFacts] = Step(
    name="drift",
    does="Compare the newest day's plays with the champion's training window.",
    reads=lambda settings: (
        settings.paths.interactions,
        settings.paths.features,
        settings.paths.models,
    ),
    writes=lambda settings: (stored.folder(settings.paths),),
    settings=("data.time_zone", *LABEL_SETTINGS),
    facts=DriftFacts,
    run=lambda settings, _: record_drift(settings),
)
