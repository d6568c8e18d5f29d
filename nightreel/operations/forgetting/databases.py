"""Removes a user from the database of the lists and from Feast's online store, free pages included."""

import sqlite3
from contextlib import closing
from pathlib import Path

from feast.infra.key_encoding_utils import deserialize_entity_key
from sqlalchemy import Connection, Table, delete, select, update

from nightreel.core import columns
from nightreel.core.errors import NightreelError
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.operations.forgetting.identity import Person
from nightreel.operations.forgetting.raw_files import Removed
from scoring.database.connection import sql_engine
from scoring.database.failures import translate_errors
from scoring.database.id_columns import are_text
from scoring.database.schema import upgrade
from scoring.database.tables import (
    job_run,
    list_repeat,
    list_rule,
    metadata,
    recommendation,
    recommendation_run,
    skip_user,
)
from scoring.database.url import SQLITE, database_exists, database_url, sqlite_file
from scoring.database.writer import exclusive_lock

_HIDDEN = "***"
_KEY_VERSION = 3
_WORDS: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (recommendation_run, ("error", "remarks")),
    (list_rule, ("reason",)),
    (job_run, ("error", "remarks")),
)


def remove_from_lists(settings: DatabaseNeeds, person: Person, removed: Removed) -> None:
    """Delete the user's rows of every kept run and of `skip_user`, and overwrite the space that held them.

    Outcome counts (list_outcome and its like) hold no users.

    Raises:
        BusyError: another process publishes.
    """
    if not database_exists(settings):
        return
    opened = sql_engine(settings)
    with translate_errors(database_url(settings)), exclusive_lock(opened) as connection:
        is_sqlite = connection.dialect.name == SQLITE
        if is_sqlite:
            _driver(connection).execute("PRAGMA secure_delete = ON")
        with connection.begin():
            upgrade(connection)
            _delete(connection, person, removed)
        if is_sqlite:
            # Free pages, and free space between the rows of other users.
            _driver(connection).execute("VACUUM")
    if is_sqlite:
        _require_no_journal(settings)
        return
    with translate_errors(database_url(settings)), opened.connect() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"VACUUM {names}")
    removed.left.append(
        "PostgreSQL: rows are deleted and vacuumed; its write-ahead log and backups have their own time"
    )


def _delete(connection: Connection, person: Person, removed: Removed) -> None:
    # Tables have the type of the ids of the last night.
    user = str(person.user_id) if are_text(connection, recommendation, columns.USER_ID) else person.user_id
    run_key = recommendation_run.c[columns.RUN_ID]
    for run_id in connection.execute(select(run_key)).scalars().all():
        own = (recommendation.c[columns.RUN_ID] == run_id) & (recommendation.c[columns.USER_ID] == user)
        rows = connection.execute(delete(recommendation).where(own)).rowcount
        if rows:
            removed.counts["rows of lists"] += rows
            counts = {"users": recommendation_run.c.users - 1, "rows": recommendation_run.c.rows - rows}
            connection.execute(update(recommendation_run).where(run_key == run_id).values(**counts))
    noted = delete(list_repeat).where(list_repeat.c[columns.USER_ID] == user)
    removed.counts["rows of list_repeat"] += connection.execute(noted).rowcount
    alone = (list_rule.c.segment_column == columns.USER_ID) & (list_rule.c.segment_value == str(user))
    removed.counts["rules for the user alone"] += connection.execute(delete(list_rule).where(alone)).rowcount
    skipped = delete(skip_user).where(skip_user.c[columns.USER_ID] == user)
    removed.counts["rows of skip_user"] += connection.execute(skipped).rowcount
    for table, names in _WORDS:
        key = list(table.primary_key.columns)
        for name in names:
            column = table.c[name]
            holding = select(*key, column).where(column.contains(str(person.user_id), autoescape=True))
            for row in connection.execute(holding).all():
                said = person.token.sub(_HIDDEN, row[-1])
                if said != row[-1]:
                    is_row = [one == value for one, value in zip(key, row, strict=False)]
                    connection.execute(update(table).where(*is_row).values({name: said}))
                    removed.counts["messages"] += 1


def _require_no_journal(settings: DatabaseNeeds) -> None:
    """Raise NightreelError where readers kept SQLite from ending the journal, which has the old pages."""
    file = sqlite_file(database_url(settings))
    assert file is not None
    journals = [file.with_name(f"{file.name}{end}") for end in ("-wal", "-journal")]
    if any(journal.exists() and journal.stat().st_size for journal in journals):
        raise NightreelError(
            f"{file}: another process has it open, so that its journal still has what was deleted.",
            f"End that process (`fuser {file}` names it), then forget again.",
        )


def remove_from_online_store(file: Path, person: Person, removed: Removed) -> None:
    """Delete the user's keys from Feast's online store, if that is the home's own SQLite file."""
    if not file.is_file():
        return
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        tables = connection.execute(
            "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND c.name = 'entity_key'"
        ).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for (table,) in tables:
            name = '"' + table.replace('"', '""') + '"'
            keys = connection.execute(f"SELECT DISTINCT entity_key FROM {name}").fetchall()
            own = [key for key in keys if _is_of(key[0], person)]
            connection.executemany(f"DELETE FROM {name} WHERE entity_key = ?", own)
            removed.counts["keys of the online store"] += len(own)
        connection.execute("COMMIT")
        connection.execute("VACUUM")


def _is_of(key: bytes, person: Person) -> bool:
    entity = deserialize_entity_key(key, _KEY_VERSION)
    for name, value in zip(entity.join_keys, entity.entity_values, strict=True):
        if name == columns.USER_ID and person.is_id(str(getattr(value, value.WhichOneof("val")))):
            return True
    return False


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
