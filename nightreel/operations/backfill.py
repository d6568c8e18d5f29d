"""The lists of past nights, as each would have been known then: stored, counted, never shown to apps."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pydantic import Field
from sqlalchemy import select

from nightreel.core import columns
from nightreel.core.clock import require_not_future
from nightreel.core.errors import InputError
from nightreel.core.logs import get_logger, progress
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import BackfillNeeds, DatabaseNeeds, ScheduleNeeds
from nightreel.core.steps import Facts, StepResult
from nightreel.operations.due import next_due
from pipelines import model_registry
from pipelines.local_days import end_of_day, start_of_day
from pipelines.model_registry import ModelVersion
from scoring.database.connection import reading
from scoring.database.publish import score_and_publish
from scoring.database.schema import recorded_version, upgrade_if_there
from scoring.database.score_facts import ScoreFacts
from scoring.database.tables import STORED, list_night, recommendation_run
from scoring.database.url import database_exists, database_url, masked
from scoring.outcomes import record_outcomes

# More nights than any backfill has, so that it prunes none of its own.
_KEEP_ALL = 1_000_000

_log = get_logger(__name__)


@dataclass(frozen=True)
class PastNight:
    """A night to be made: a local day, which begins at as_of, and what was known then.

    Attributes:
        known_at: when the night's job would have begun.
        has_seen: whether the model was fitted on plays of that day or later.
    """

    day: date
    as_of: datetime
    known_at: datetime
    model: ModelVersion
    has_seen: bool


class BackfillFacts(Facts):
    """How many nights were asked for, made, and already there; their runs and models."""

    nights: int
    made: int
    before: int = Field(serialization_alias="there before")
    runs: list[int]
    models: list[str]


def backfill(
    settings: BackfillNeeds,
    first: date,
    last: date,
    *,
    model_version: str | None = None,
    force: bool = False,
    now: datetime | None = None,
) -> StepResult[BackfillFacts]:
    """Make and count the lists of every local day from `first` to `last`, both included.

    A night that the same model has made before is skipped, so an interrupted backfill continues where it
    stopped.

    Args:
        model_version: by default, for each night, the newest that was fitted on earlier plays only.

    Raises:
        InputError: there is no such model, or a day is not in the past. Errors of scoring pass through.
    """
    now = now or datetime.now(UTC)
    nights = list(_nights(settings, first, last, model_version, now))
    upgrade_if_there(settings)
    keeping = settings.changed({"database.keep_runs": _KEEP_ALL})
    made: list[int] = []
    before = 0
    with progress("backfill", total=len(nights)) as advance:
        for night in nights:
            if not force and _is_there(settings, night):
                before += 1
            else:
                result = score_and_publish(
                    keeping,
                    as_of=night.as_of,
                    model_version=night.model.version,
                    known_at=night.known_at,
                    replay=True,
                    force=force,
                )
                made.append(_run_of(result))
                _log.info("night made", day=night.day.isoformat(), run_id=made[-1])
            advance()
    # Also if nothing was made now: an interrupted backfill may have made them before.
    record_outcomes(settings, now)
    seen = [night.day.isoformat() for night in nights if night.has_seen]
    remarks = []
    if seen:
        remarks.append(
            f"{len(seen)} nights, {seen[0]} to {seen[-1]}, are by a model that was fitted on their plays: "
            "their figures are too good"
        )
    if len(nights) > settings.database.keep_runs:
        remarks.append(
            f"the next publish keeps the lists of the newest {settings.database.keep_runs} ([database] "
            "keep_runs); their figures stay"
        )
    facts = BackfillFacts(
        nights=len(nights),
        made=len(made),
        before=before,
        runs=made,
        models=sorted({night.model.version for night in nights}),
        remarks=tuple(remarks) or None,
    )
    return StepResult("backfill", not made, (), (masked(database_url(settings)),), facts)


def _run_of(result: StepResult[ScoreFacts]) -> int:
    assert result.facts.run_id is not None  # only a dry run has none
    return result.facts.run_id


def _nights(
    settings: ScheduleNeeds, first: date, last: date, model_version: str | None, now: datetime
) -> Iterator[PastNight]:
    """All nights to be made, or InputError before any is."""
    if first > last:
        raise InputError(f"--from {first} --to {last}: the first day is after the last.", "Swap them.")
    require_not_future("--to", start_of_day(last, settings.data.zone), now)
    every = _models(settings.paths, model_version)
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        as_of = start_of_day(day, settings.data.zone)
        due = next_due(settings.schedule.cron, settings.zone_of_schedule, as_of)
        known_at = min(now, end_of_day(day, settings.data.zone) if due is None else due)
        honest = [model for fitted_before, model in every if fitted_before <= as_of]
        if not honest and model_version is None:
            raise InputError(
                f"--from {first}: no model was fitted on plays before {day} alone; the earliest on those "
                f"before {every[0][0].astimezone(settings.data.zone):%Y-%m-%d}.",
                "Begin at that day, or name --model VERSION: lists of days that it has seen are too good.",
            )
        yield PastNight(day, as_of, known_at, honest[-1] if honest else every[0][1], not honest)


def _models(paths: Paths, model_version: str | None) -> list[tuple[datetime, ModelVersion]]:
    """Models by the instant up to which their rankers were fitted, earliest first; at least one."""
    names = [model_version] if model_version is not None else model_registry.version_names(paths)
    found = []
    for name in names:
        model = model_registry.find(paths, name)
        try:
            found.append((model.fitted_before, model))
        except InputError:
            continue
    if not found:
        raise InputError(f"{paths.models}: no model yet.", "Run `nightreel train` first.")
    return sorted(found, key=lambda one: (one[0], one[1].version))


def _is_there(settings: DatabaseNeeds, night: PastNight) -> bool:
    """Whether a stored run, or the figures of one that was pruned, are of this night and model."""
    if not database_exists(settings):
        return False
    with reading(settings) as connection:
        if recorded_version(connection) is None:
            return False
        for table, is_stored in (
            (recommendation_run, recommendation_run.c.status == STORED),
            (list_night, ~list_night.c.shown),
        ):
            same = (table.c.as_of == night.as_of) & (table.c.model_version == night.model.version)
            query = select(table.c[columns.RUN_ID]).where(is_stored, same).limit(1)
            if connection.execute(query).first() is not None:
                return True
    return False
