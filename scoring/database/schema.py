"""Brings a database's schema to the version of this nightreel; an older one keeps all its data."""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import ListIds
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.id_columns import fit_ids
from scoring.database.tables import OF_IDS, metadata
from scoring.database.url import database_exists, database_url
from scoring.database.writer import exclusive_lock

SCHEMA_VERSION = 9
_VIEWS = (columns.LATEST_RECOMMENDATION, columns.LATEST_RELATED, columns.LATEST_POPULAR)

# Alembic's own table; apart from ours, which its migrations make.
_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def upgrade_database(settings: DatabaseNeeds) -> tuple[int | None, int]:
    """Upgrade the settings' database, creating it if it is missing.

    Returns:
        The schema version before (None for a new database) and now.

    Raises:
        InputError: the schema is newer, or belongs to another program.
        BusyError: another process publishes.
    """
    opened = sql_engine(settings)
    with translate_errors(database_url(settings)), exclusive_lock(opened) as connection, connection.begin():
        before = recorded_version(connection)
        upgrade(connection)
        fit_ids(connection, ListIds.of(settings.paths), OF_IDS)
    return before, SCHEMA_VERSION


def upgrade_if_there(settings: DatabaseNeeds) -> bool:
    """Upgrade the database if it has our schema, and return whether it has; errors as `upgrade_database`."""
    if not database_exists(settings):
        return False
    with reading(settings) as connection:
        version = recorded_version(connection)
    if version is not None and version < SCHEMA_VERSION:
        upgrade_database(settings)
    return version is not None


def upgrade(connection: Connection) -> None:
    """Create or upgrade the schema: all of it or nothing. Call within the exclusive writer's transaction.

    Raises:
        InputError: the schema belongs to a newer nightreel, or a table with one of our names is not ours.
    """
    version = recorded_version(connection)
    require_not_newer(version)
    if version == SCHEMA_VERSION:
        return
    if version is None:
        _refuse_others(connection)
    _migrate(connection)


def require_current(connection: Connection) -> None:
    """Raise InputError unless the schema has this nightreel's version; for readers, which cannot upgrade."""
    version = recorded_version(connection)
    require_not_newer(version)
    if version is None:
        raise InputError("Nothing is published yet.", "Run `nightreel score` first.")
    if version < SCHEMA_VERSION:
        raise InputError(
            f"The database's schema is version {version}, older than this nightreel's {SCHEMA_VERSION}.",
            "Run `nightreel db upgrade`; no data is lost.",
        )


def require_not_newer(version: int | None) -> None:
    """Raise InputError if the recorded version belongs to a newer nightreel."""
    if version is not None and version > SCHEMA_VERSION:
        raise InputError(
            f"The database's schema is version {version}, newer than this nightreel's {SCHEMA_VERSION}.",
            "Upgrade nightreel, or publish to another database.",
        )


def recorded_version(connection: Connection) -> int | None:
    """The database's schema version; None without our schema. Raises InputError for an impossible one."""
    if not inspect(connection).has_table(_version.name):
        return None
    found = connection.execute(select(_version.c.version_num)).scalar()
    if found is None:
        return None
    if not found.isdecimal():
        raise InputError(
            f"The database's schema version is {found!r}: another program's.", "Publish to another database."
        )
    return int(found)


def _refuse_others(connection: Connection) -> None:
    present = {*inspect(connection).get_table_names(), *inspect(connection).get_view_names()}
    taken = sorted(present & {*metadata.tables, *_VIEWS})
    if taken:
        raise InputError(
            f"The database has a table `{taken[0]}` that nightreel did not make.",
            "Publish to another database, or to another schema of it.",
        )


def _migrate(connection: Connection) -> None:
    # Slow to import, and needed once in a schema's life.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    command.upgrade(config, f"{SCHEMA_VERSION:04}")
