"""A run's life in the database: begun, filled in blocks, audited and shown in one transaction, pruned later.

A run that is not to be shown, such as most replays, ends as `stored` instead. Readers follow one pointer. It
moves in the transaction that ends the audit, so readers see either last night's complete lists or tonight's.
After a failure or a kill before that, the pointer is unchanged, and the next run removes the rows.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from queue import SimpleQueue

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import OperationalError

from nightreel.core import columns
from nightreel.core.errors import NightreelError
from nightreel.core.ids import ListIds
from nightreel.core.logs import get_logger
from nightreel.core.settings.needs import PublishNeeds
from scoring.database.audits import Arms, finite_scores
from scoring.database.bulk_rows import ReadyRows
from scoring.database.failures import translate_errors
from scoring.database.loading import ready_lists
from scoring.database.new_run import NewRun, Published
from scoring.database.pruning import prune
from scoring.database.repeats import write_repeats
from scoring.database.run_audits import audit_run, audit_shared_lists
from scoring.database.shared_lists import ready_shared
from scoring.database.tables import (
    FAILED,
    OF_RUNS,
    PUBLISHED,
    RUNNING,
    STORED,
    list_flip,
    published_run,
    recommendation_run,
)
from scoring.database.url import POSTGRESQL
from scoring.lists.candidates import Candidates
from scoring.lists.rows import Lists, in_batches
from scoring.lists.shared.rows import SharedList

_ERROR_CHARACTERS = 1_000
_SHARED_ROWS = 50_000  # that a transaction writes
_key = recommendation_run.c[columns.RUN_ID]
_PATIENCE = text("SET LOCAL lock_timeout = '30s'")
_LOST = "ended without a report: killed, or the database could not be reached"

_log = get_logger(__name__)


def publish(
    connection: Connection,
    run: NewRun,
    blocks: Iterable[Lists],
    candidates: Candidates,
    settings: PublishNeeds,
    *,
    arms: Arms = (),
    shared: Sequence[SharedList] = (),
    begin_stage: Callable[[str], None] = lambda _stage: None,
    batch_rows: int = 50_000,
) -> Published:
    """Write blocks of lists as a new run, audit it, and show or store it; see `publish_written`.

    Args:
        blocks: every eligible user's whole list, once. The next block is made while batches are being
            written, one on SQLite and two on PostgreSQL; two more are in memory.
        shared: related and popular lists.
        batch_rows: least number of rows per transaction.
    """

    def write(run_id: int) -> None:
        with translate_errors(connection.engine.url):
            _write(connection, run_id, in_batches(blocks, batch_rows), ListIds.of(settings.paths))

    return publish_written(
        connection, run, write, candidates, settings, shared=shared, arms=arms, begin_stage=begin_stage
    )


def publish_written(
    connection: Connection,
    run: NewRun,
    write: Callable[[int], object],
    candidates: Candidates,
    settings: PublishNeeds,
    *,
    arms: Arms = (),
    shared: Sequence[SharedList] = (),
    begin_stage: Callable[[str], None] = lambda _stage: None,
) -> Published:
    """Write a new run, audit it, and show or store it; then prune old runs.

    Args:
        connection: of the exclusive writer.
        write: takes the run's id; returns once every eligible user's whole list is committed under it.
        arms: of an experiment, each with the candidates that its lists are audited against.
        shared: related and popular lists, written, audited and shown with the users' lists.
        begin_stage: called with "write", "audit" and "prune".

    Raises:
        AuditError: an audit fails. Then, and when `write` raises, the run is marked failed with the reason,
            its rows are removed, and the run shown before stays.
    """
    begin_stage("write")
    with translate_errors(connection.engine.url), connection.begin():
        if connection.dialect.name == POSTGRESQL:
            # A killed process's transaction on the server ends shortly; wait for it, but not for ever.
            connection.execute(_PATIENCE)
        _clean_orphans(connection)
        run_id = _begin(connection, run, settings.lists.top_k)
    try:
        write(run_id)
        with translate_errors(connection.engine.url):
            _write_shared(connection, run_id, shared, ListIds.of(settings.paths))
            begin_stage("audit")
            with connection.begin():
                rows, remarks = audit_run(connection, run_id, run, candidates, settings, arms=arms)
                counts = audit_shared_lists(connection, run_id, run, candidates, settings, shared=shared)
                published = Published(run_id, len(candidates.user_id), rows, remarks, counts)
                _end(connection, published, STORED if not run.show else PUBLISHED)
                if run.show:
                    show(connection, run_id)
                    if settings.notes_repeats and not run.replay:
                        write_repeats(connection, run_id, candidates, ListIds.of(settings.paths))
    except BaseException as error:
        _mark_failed(connection.engine, run_id, error)
        raise
    begin_stage("prune")
    try:
        with translate_errors(connection.engine.url):
            prune(connection, settings.database)
    except NightreelError as error:
        # The lists are published; a failure to prune does not affect them, and the next run prunes.
        _log.warning("old runs were not removed", reason=str(error))
    return published


def show(connection: Connection, run_id: int) -> None:
    """Point the view at this run and record since when; call within the exclusive writer's transaction."""
    connection.execute(delete(published_run))
    connection.execute(insert(published_run).values(slot=1, run_id=run_id))
    connection.execute(insert(list_flip).values(shown_at=datetime.now(UTC), run_id=run_id))


def require_unpublished(connection: Connection, run_id: int) -> None:
    """Lock the run's row until the transaction ends; raise NightreelError unless the run is being written.

    If each process that adds rows begins its transaction with this, all its rows are there when the run is
    audited, or none: a run that has ended accepts no more rows.
    """
    status = connection.execute(
        select(recommendation_run.c.status).where(_key == run_id).with_for_update(read=True)
    ).scalar()
    if status != RUNNING:
        raise NightreelError(
            f"Run {run_id} is no longer being written: another process ended it.",
            "Run `nightreel score`.",
        )


def note_stages(connection: Connection, run_id: int, seconds: Mapping[str, float]) -> None:
    """Store a run's seconds per stage; its lists are already published, so a failure is only logged."""
    try:
        with translate_errors(connection.engine.url), connection.begin():
            connection.execute(
                update(recommendation_run).where(_key == run_id).values(stages=json.dumps(dict(seconds)))
            )
    except NightreelError as error:
        _log.warning("the run's seconds were not kept", reason=str(error))


def _clean_orphans(connection: Connection) -> None:
    """Mark runs that died as failed, and remove the rows of every run that was not published.

    Call as the only writer, in a transaction: then whatever is `running` has no process any more.
    """
    connection.execute(
        update(recommendation_run)
        .where(recommendation_run.c.status == RUNNING)
        .values(status=FAILED, error=_LOST)
    )
    unpublished = select(_key).where(recommendation_run.c.status == FAILED)
    for table in OF_RUNS:
        connection.execute(delete(table).where(table.c[columns.RUN_ID].in_(unpublished)))


def _begin(connection: Connection, run: NewRun, k: int) -> int:
    last = connection.execute(select(func.max(_key))).scalar()
    # Counted, not drawn from a sequence: the same nights give the same numbers on every database.
    run_id = (last or 0) + 1
    connection.execute(
        insert(recommendation_run).values(
            run_id=run_id,
            status=RUNNING,
            as_of=run.as_of,
            model_version=run.model_version,
            started_at=datetime.now(UTC),
            k=k,
            inputs=run.inputs,
            known_at=run.known_at,
            newest_play_at=run.newest_play_at,
            replay=run.replay,
            arms=run.arms,
        )
    )
    return run_id


def _write(connection: Connection, run_id: int, batches: Iterable[Sequence[Lists]], ids: ListIds) -> None:
    """Write the batches, each in a transaction of its own, while the next one is made ready.

    Two connections write to PostgreSQL: each has a process of its own on the server.
    """
    engine = connection.engine
    idle: SimpleQueue[Connection] = SimpleQueue()

    def write(ready: ReadyRows) -> None:
        own = idle.get()
        try:
            ready.write(own, lambda: require_unpublished(own, run_id))
        finally:
            idle.put(own)

    with ExitStack() as opened:
        idle.put(connection)
        if connection.dialect.name == POSTGRESQL:
            # A server that has no more connections to give is written to by this one alone.
            with suppress(OperationalError):
                idle.put(opened.enter_context(engine.connect()))
        writers = idle.qsize()
        threads = opened.enter_context(ThreadPoolExecutor(max_workers=writers, thread_name_prefix="write"))
        writing: deque[Future[None]] = deque()
        for batch in batches:
            for lists in batch:
                finite_scores(lists, ids)
            ready = ready_lists(engine.url, run_id, batch, ids)
            # One batch waits, so that neither side stands still when the other takes longer for once.
            if len(writing) > writers:
                writing.popleft().result()
            writing.append(threads.submit(write, ready))
        for one in writing:
            one.result()


def _write_shared(connection: Connection, run_id: int, shared: Sequence[SharedList], ids: ListIds) -> None:
    for one in shared:
        for batch in one.rows.iter_slices(_SHARED_ROWS):
            ready = ready_shared(connection.engine.url, run_id, one.kind, batch, ids)
            ready.write(connection, lambda: require_unpublished(connection, run_id))


def _end(connection: Connection, published: Published, status: str) -> None:
    published_at = datetime.now(UTC) if status == PUBLISHED else None
    done = connection.execute(
        update(recommendation_run)
        .where(_key == published.run_id, recommendation_run.c.status == RUNNING)
        .values(status=status, published_at=published_at, users=published.users, rows=published.rows)
    )
    if done.rowcount != 1:
        raise NightreelError(
            f"Run {published.run_id} was ended by another process.", "Run `nightreel score`."
        )


def _mark_failed(engine: Engine, run_id: int, error: BaseException) -> None:
    """Say why in the run's row and remove its lists; where the database is away, the next run does that."""
    reason = str(error) if isinstance(error, NightreelError) else f"{type(error).__name__}: {error}"
    with suppress(NightreelError), translate_errors(engine.url), engine.begin() as connection:
        marked = connection.execute(
            update(recommendation_run)
            .where(_key == run_id, recommendation_run.c.status == RUNNING)
            .values(status=FAILED, error=reason[:_ERROR_CHARACTERS])
        )
        if marked.rowcount:
            for table in OF_RUNS:
                connection.execute(delete(table).where(table.c[columns.RUN_ID] == run_id))
