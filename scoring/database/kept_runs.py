"""Finds single runs in the table: the one that is shown, the last night's, one of the same inputs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.needs import DatabaseNeeds
from pipelines.local_days import ALWAYS_KNOWN
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.tables import (
    FAILED,
    PUBLISHED,
    STORED,
    published_run,
    recommendation,
    recommendation_run,
)

_key = recommendation_run.c[columns.RUN_ID]
_status = recommendation_run.c.status


def shown_run(connection: Connection) -> Row[Any] | None:
    """The row of recommendation_run that apps read; None before the first publish."""
    return connection.execute(
        select(recommendation_run).join(published_run, published_run.c[columns.RUN_ID] == _key)
    ).first()


def last_night(connection: Connection) -> Row[Any] | None:
    """The run that a new one is compared with: the shown one or, if that is a replay, the last night's."""
    shown = shown_run(connection)
    if shown is None or not shown.replay:
        return shown
    nights = select(recommendation_run).where(_status == PUBLISHED, ~recommendation_run.c.replay)
    return connection.execute(nights.order_by(_key.desc()).limit(1)).first()


def same_run(connection: Connection, inputs: str, *, replay: bool, show: bool) -> Row[Any] | None:
    """The run with the same inputs that makes a new one unnecessary; None if a new one is needed.

    A run to be shown is unnecessary only if the shown run has the same inputs, another run if any kept run
    has. If a replay of a night is shown, the night's own list is still made.
    """
    if show:
        shown = shown_run(connection)
        is_same = shown is not None and shown.inputs == inputs and (replay or not shown.replay)
        return shown if is_same else None
    kept = select(recommendation_run).where(
        _status.in_([PUBLISHED, STORED]), recommendation_run.c.inputs == inputs
    )
    return connection.execute(kept.order_by(_key.desc()).limit(1)).first()


def run_or_shown(connection: Connection, run_id: int | None, *, remedy: str) -> Row[Any]:
    """The row of a run that has lists.

    Args:
        run_id: by default the run that apps read.
        remedy: for the message if no run is given and none is shown.

    Raises:
        InputError: no run is given and none is shown, or the run has no lists.
    """
    if run_id is not None:
        return require_lists(connection, run_id)
    shown = shown_run(connection)
    if shown is None:
        raise InputError("Nothing is published yet.", remedy)
    return shown


def require_lists(connection: Connection, run_id: int) -> Row[Any]:
    """The run's row. Raises InputError with the reason if there is no such run or it has no lists."""
    run = connection.execute(select(recommendation_run).where(_key == run_id)).first()
    remedy = "`nightreel runs` lists those that are kept."
    if run is None:
        raise InputError(f"Run {run_id}: no such run, or it was pruned ([database] keep_runs).", remedy)
    if run.status == FAILED:
        raise InputError(f"Run {run_id} failed and has no lists: {run.error}", remedy)
    if run.status not in (PUBLISHED, STORED):
        raise InputError(f"Run {run_id} is not complete: it is {run.status}.", remedy)
    any_row = select(recommendation.c.rank).where(recommendation.c[columns.RUN_ID] == run_id).limit(1)
    if connection.execute(any_row).first() is None:
        raise InputError(f"Run {run_id} no longer has any rows.", remedy)
    return run


@dataclass(frozen=True)
class Night:
    """The inputs of a run: its instant, model, arms, and the arrival of the last delivery that it used."""

    as_of: datetime
    model_version: str
    known_at: datetime
    experiment: ExperimentSettings | None = None


def night_of(settings: DatabaseNeeds, run_id: int) -> Night:
    """The inputs of a stored run. Raises InputError if there is no such run."""
    with reading(settings) as connection:
        require_current(connection)
        run = connection.execute(select(recommendation_run).where(_key == run_id)).first()
    if run is None:
        raise InputError(
            f"Run {run_id}: no such run, or it was pruned (setting [database] keep_runs).",
            "`nightreel runs` lists those that are kept; or name --as-of, --model and --known-at.",
        )
    experiment = None if run.arms is None else ExperimentSettings.model_validate_json(run.arms)
    return Night(run.as_of, run.model_version, run.known_at or ALWAYS_KNOWN, experiment)
