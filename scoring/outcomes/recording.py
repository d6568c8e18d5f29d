"""The nightly step: counts the outcomes of the shown lists, and keeps them in the database."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, delete, insert, select

from nightreel.core import columns
from nightreel.core.artefacts import fingerprint
from nightreel.core.checksums import require_as_written
from nightreel.core.play_days import table_exists
from nightreel.core.settings.needs import NightNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines.known import table_files
from pipelines.labels import LABEL_SETTINGS
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.schema import upgrade_if_there
from scoring.database.tables import (
    list_arm,
    list_candidate,
    list_exposure,
    list_flip,
    list_night,
    list_outcome,
    list_reach,
    recommendation_run,
)
from scoring.database.url import database_url, masked
from scoring.database.writer import exclusive_lock
from scoring.outcomes.counting import Figures, count
from scoring.outcomes.exposures import Exposures, exposure_table, exposures_of
from scoring.outcomes.log import Log
from scoring.outcomes.scorecard import alarms
from scoring.outcomes.windows import ShownRun, shown_runs

_KEPT = 800


class OutcomeFacts(Facts):
    """Number of rows counted again, and their runs."""

    rows: int
    runs: list[int] | None = None

    @property
    def rows_written(self) -> int:
        """Number of those rows."""
        return self.rows


def record_outcomes(settings: NightNeeds, now: datetime | None = None) -> StepResult[OutcomeFacts]:
    """Count the outcomes of each kept run's lists; again if plays have arrived since.

    Runs whose plays have not changed are not counted again. The summary's remarks name figures of the newest
    night that are outside the band of the nights before.

    Args:
        now: only earlier plays count; by default the clock's time.
    """
    now, log = now or datetime.now(UTC), Log(settings)
    if not log.exists or not upgrade_if_there(settings):
        return OUTCOMES.skipped((), (), OutcomeFacts(rows=0))
    displayed = exposure_table(settings.paths)
    require_as_written((*table_files(settings.paths), *([displayed] if table_exists(displayed) else [])))
    rows, counted = 0, []
    with reading(settings) as connection:
        before = select(list_night.c[columns.RUN_ID], list_night.c.inputs)
        known = {row[0]: row[1] for row in connection.execute(before)}
        for shown in shown_runs(connection, now):
            plays = log.within(shown.spans)
            exposures = exposures_of(log, shown, now)
            inputs = _digest(settings, shown, plays, exposures, log.newest)
            if known.get(shown.run.run_id) == inputs:
                continue
            figures = count(connection, shown, log, plays, exposures)
            counted.append((shown, inputs, figures))
            rows += len(figures.outcome)
    if counted:
        with (
            translate_errors(database_url(settings)),
            exclusive_lock(sql_engine(settings)) as writing,
            writing.begin(),
        ):
            kept = set(writing.execute(select(recommendation_run.c[columns.RUN_ID])).scalars())
            for shown, inputs, figures in counted:
                # A run that was removed meanwhile may not have been counted completely.
                if shown.run.run_id in kept:
                    recorded = {"inputs": inputs, "log_until": log.newest, "recorded_at": now}
                    _write(writing, shown, figures, recorded)
            _prune(writing)
    with reading(settings) as connection:
        remarks = alarms(connection)
    runs = [shown.run.run_id for shown, *_ in counted]
    facts = OutcomeFacts(rows=rows, runs=runs, remarks=tuple(remarks))
    where = (masked(database_url(settings)),)
    return StepResult(OUTCOMES.name, not counted, table_files(settings.paths), where, facts)


def _digest(
    settings: NightNeeds,
    shown: ShownRun,
    plays: pl.DataFrame,
    exposures: Exposures | None,
    log_until: datetime | None,
) -> str:
    """A digest of all that a run's figures come from, and of how far the log has come in its spans."""
    frames = [plays] if exposures is None else [plays, exposures.rows, exposures.plays]
    return fingerprint(
        spans=[(str(start), str(end)) for start, end in shown.spans],
        log_until=None if log_until is None else str(min(log_until, shown.shown_until)),
        plays=[
            [frame.height, int(frame.hash_rows(seed=1).to_numpy().sum(dtype="uint64"))] for frame in frames
        ],
        settings={name: str(value) for name, value in OUTCOMES.settings_in(settings).items()},
        run=[str(shown.run.as_of), str(shown.run.started_at), shown.shown],
    )


def _write(connection: Connection, shown: ShownRun, figures: Figures, recorded: dict[str, Any]) -> None:
    """Replace the figures that a run had."""
    run = shown.run
    _remove(connection, [run.run_id])
    facts: dict[str, Any] = {
        "shown": shown.shown,
        "as_of": run.as_of,
        "model_version": run.model_version,
        "shown_from": shown.shown_from,
        "shown_until": shown.shown_until,
        **recorded,
    }
    connection.execute(insert(list_night).values(run_id=run.run_id, **facts, **figures.night))
    tables = (
        (list_outcome, figures.outcome),
        (list_reach, figures.reach),
        (list_candidate, figures.candidate),
        (list_arm, figures.arm),
        (list_exposure, figures.exposure),
    )
    for table, rows in tables:
        if rows:
            connection.execute(insert(table), [{columns.RUN_ID: run.run_id, **row} for row in rows])


def _prune(connection: Connection) -> None:
    """Remove the oldest nights beyond those that are kept, and the flips before them."""
    newest = select(list_night.c[columns.RUN_ID], list_night.c.shown_from)
    nights = connection.execute(newest.order_by(list_night.c.shown_from.desc())).all()
    if len(nights) > _KEPT:
        _remove(connection, [night.run_id for night in nights[_KEPT:]])
        connection.execute(delete(list_flip).where(list_flip.c.shown_at < nights[_KEPT - 1].shown_from))


def _remove(connection: Connection, run_ids: list[int]) -> None:
    for table in (list_outcome, list_reach, list_candidate, list_arm, list_exposure, list_night):
        connection.execute(delete(table).where(table.c[columns.RUN_ID].in_(run_ids)))


OUTCOMES: Step[OutcomeFacts] = Step(
    name="outcomes",
    does="Count the plays and likes of each night's lists.",
    reads=lambda settings: (settings.paths.tables,),
    writes=lambda settings: (masked(database_url(settings)),),
    # What the figures depend on, beside plays and lists.
    settings=(
        "data.time_zone",
        *LABEL_SETTINGS,
        "lists.exclude",
    ),
    facts=OutcomeFacts,
    run=lambda settings, _: record_outcomes(settings),
)
