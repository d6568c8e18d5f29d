"""Puts a run's lists into Feast: a feature view over a file of the home, and the online store of choice."""

import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from feature_repo.home import features_in_postgresql
from feature_repo.lists import AS_OF, NAME, SCORES, VIDEO_IDS
from feature_repo.open_store import apply_definitions
from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import NightNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.local_days import INSTANT
from scoring.database.connection import reading
from scoring.database.kept_runs import run_or_shown
from scoring.database.schema import require_current
from scoring.exporting.facts import ExportFacts
from scoring.exporting.reading import NAMES, lists_by_user

_USERS_AT_A_TIME = 10_000
_at_video, _at_score = NAMES.index(columns.VIDEO_ID), NAMES.index(columns.SCORE)


def export_to_feast(
    settings: NightNeeds, run_id: int | None, *, now: datetime | None = None
) -> StepResult[ExportFacts]:
    """Write the lists to the source of `user_recommendation`, register the view, and fill the online store.

    Lists are stamped with the current time, as they were not known before. A user with a list in the last
    export and none in this run gets an empty list.

    Args:
        run_id: by default the run that apps read.

    Raises:
        InputError: the run has no lists, or Feast's features are in PostgreSQL.
    """
    if features_in_postgresql():
        raise InputError(
            "Lists go to Feast from parquet, and FEAST_FS_YAML_FILE_PATH names features in PostgreSQL.",
            "Read latest_recommendation there: it is the same table of the same database.",
        )
    now = now or datetime.now(UTC)
    file = settings.paths.feature_source(NAME)
    before = set(pl.read_parquet(file)[columns.USER_ID]) if file.is_file() else set()
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first, or name a --run.")
        about = {columns.EVENT_TIMESTAMP: now, AS_OF: run.as_of, columns.RUN_ID: run.run_id}
        users = 0
        with atomic_write(file, checksum=True) as temporary:
            writer: pq.ParquetWriter | None = None
            for part in _parts(connection, run.run_id, before):
                table = _table(part, about)
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                users += len(part)
            assert writer is not None  # a run has lists
            writer.close()
    apply_definitions(settings)
    store = open_store()
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        store.materialize(now - timedelta(days=1), now, feature_views=[NAME])
    facts = ExportFacts(run_id=run.run_id, status=run.status, users=users, feature_view=NAME)
    return StepResult("export", False, (), (file, settings.paths.online_store), facts)


def _parts(connection: Connection, run_id: int, before: set[Any]) -> Iterator[list[dict[str, Any]]]:
    """Users and their lists, some at a time; those who have lost theirs come last."""
    part: list[dict[str, Any]] = []
    for user, (rows,) in lists_by_user(connection, (run_id,)):
        before.discard(user)
        videos, scores = [row[_at_video] for row in rows], [row[_at_score] for row in rows]
        part.append({columns.USER_ID: user, VIDEO_IDS: videos, SCORES: scores})
        if len(part) == _USERS_AT_A_TIME:
            yield part
            part = []
    part += [{columns.USER_ID: user, VIDEO_IDS: [], SCORES: []} for user in sorted(before)]
    if part:
        yield part


def _table(part: list[dict[str, Any]], about: dict[str, Any]) -> pa.Table:
    first = next((row[VIDEO_IDS][0] for row in part if row[VIDEO_IDS]), 0)
    kinds = {int: pl.Int64, str: pl.String}
    frame = pl.DataFrame(
        part,
        schema={
            columns.USER_ID: kinds[type(part[0][columns.USER_ID])],
            VIDEO_IDS: pl.List(kinds[type(first)]),
            SCORES: pl.List(pl.Float32),
        },
    ).with_columns(
        pl.lit(about[columns.EVENT_TIMESTAMP], dtype=INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.lit(about[AS_OF], dtype=INSTANT).alias(AS_OF),
        pl.lit(about[columns.RUN_ID], dtype=pl.Int64).alias(columns.RUN_ID),
    )
    table = frame.to_arrow()
    # Feast knows lists and texts of the plain kind alone.
    plain = [pa.field(one.name, _plain(one.type)) for one in table.schema]
    return table.cast(pa.schema(plain))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


LISTS_TO_FEAST: Step[ExportFacts] = Step(
    name="lists to feast",
    does="Put the lists that apps read into a feature view and the online store.",
    reads=lambda _: (),
    writes=lambda settings: (settings.paths.feature_source(NAME), settings.paths.online_store),
    settings=(),
    facts=ExportFacts,
    run=lambda settings, _: export_to_feast(settings, None),
)
