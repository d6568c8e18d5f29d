"""Score and audit as for publishing, in a temporary database; the real one is only read.

The copy is a SQLite file in a folder of the home. It holds what scoring and audits read from the real
database: the runs, which of them is shown, and the owner's tables. It holds the last night's lists only if an
audit compares them.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Connection, Table, insert, select

from nightreel.core import columns
from nightreel.core.locks import locked_file
from nightreel.core.settings.needs import DatabaseNeeds, NightNeeds
from nightreel.core.steps import StepResult
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.kept_runs import last_night
from scoring.database.schema import recorded_version, require_current, upgrade_database
from scoring.database.score_facts import ScoreFacts
from scoring.database.tables import (
    RUNNING,
    STORED,
    blocklist,
    list_rule,
    published_run,
    recommendation,
    recommendation_run,
    shared_list_run,
    skip_user,
)
from scoring.database.url import database_exists, database_url, masked

FOLDER = "dry-run"
_ROWS_AT_A_TIME = 50_000
_ENDED = recommendation_run.c.status != RUNNING
_ENDED_RUNS = select(recommendation_run.c[columns.RUN_ID]).where(_ENDED)


def without_writing(
    settings: NightNeeds, score: Callable[[NightNeeds], StepResult[ScoreFacts]]
) -> StepResult[ScoreFacts]:
    """Score and audit as for publishing, without writing to the database.

    Args:
        score: `score_and_publish` with its other arguments bound; what it raises passes through.

    Raises:
        InputError: the database has another schema version.
        BusyError: another process does a dry run on this home.
    """
    folder = settings.paths.data / FOLDER
    # Relative to the home, whose path may have characters that mean something in a URL.
    url = f"sqlite:///{folder.relative_to(settings.home) / 'lists.sqlite'}"
    copied = settings.changed({"database.url": SecretStr(url)})
    with locked_file(settings.paths.state / f"{FOLDER}.lock", "is at a dry run on this home"):
        # A process that was killed has left it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _copy(settings, copied)
            result = score(copied)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    facts = result.facts.model_copy(update={"database": masked(database_url(settings))})
    if not result.skipped:
        is_replay = facts.status == STORED
        end = "be stored as a replay" if is_replay else "be published"
        remark = f"Nothing was written. The lists are sound, and would {end}."
        # The last one says where to look at what was stored.
        others = (facts.remarks or ())[: -1 if is_replay else None]
        facts = facts.model_copy(update={"run_id": None, "status": "dry run", "remarks": (remark, *others)})
    return replace(result, wrote=(), facts=facts)


def _copy(settings: DatabaseNeeds, copied: NightNeeds) -> None:
    """Make the copy, with what it holds of the real database, where that is there."""
    upgrade_database(copied)
    if not database_exists(settings):
        return
    with (
        reading(settings) as source,
        translate_errors(database_url(copied)),
        sql_engine(copied).begin() as target,
    ):
        if recorded_version(source) is None:
            return
        require_current(source)
        _copy_rows(source, target, recommendation_run, _ENDED)
        _copy_rows(source, target, shared_list_run, shared_list_run.c[columns.RUN_ID].in_(_ENDED_RUNS))
        for table in (published_run, blocklist, skip_user, list_rule):
            _copy_rows(source, target, table)
        last = last_night(source)
        if last is not None and settings.database.audits.max_changed_lists < 1:
            of_last = recommendation.c[columns.RUN_ID] == last.run_id
            _copy_rows(source, target, recommendation, of_last)


def _copy_rows(source: Connection, target: Connection, table: Table, *of: ColumnElement[bool]) -> None:
    query = select(table).where(*of).execution_options(yield_per=_ROWS_AT_A_TIME)
    rows = source.execute(query)
    for part in rows.mappings().partitions():
        target.execute(insert(table), [dict(row) for row in part])
