"""The published schema: runs, lists, the pointer to the run that is shown, and the view that apps read."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    insert,
    inspect,
    select,
    text,
)

from nightreel import columns
from nightreel.errors import InputError

SCHEMA_VERSION = 1

RUNNING = "running"
PUBLISHED = "published"
FAILED = "failed"


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant: TIMESTAMP WITH TIME ZONE on PostgreSQL, ISO 8601 text with +00:00 on SQLite.

    That text sorts by time, and SQLite's date functions read it. Naive datetimes are refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no type for instants."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To UTC, as text where the database needs it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value}: an instant without a zone")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """A datetime in UTC."""
        if value is None:
            return None
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.astimezone(UTC)


metadata = MetaData()

recommendation_run = Table(
    columns.RECOMMENDATION_RUN,
    metadata,
    Column(columns.RUN_ID, Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("as_of", UtcTimestamp, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("published_at", UtcTimestamp),
    Column("users", Integer),
    Column("rows", BigInteger),
    Column("k", Integer, nullable=False),
    Column("error", Text),
    # Digest of the input files, model, instant and settings: the same again is skipped.
    Column("inputs", String(64), nullable=False),
    CheckConstraint(f"status IN ('{RUNNING}', '{PUBLISHED}', '{FAILED}')", name="known_status"),
    CheckConstraint("k >= 1", name="k_from_1"),
)

recommendation = Table(
    columns.RECOMMENDATION,
    metadata,
    Column(
        columns.RUN_ID,
        Integer,
        ForeignKey(recommendation_run.c.run_id),
        primary_key=True,
        autoincrement=False,
    ),
    Column(columns.USER_ID, BigInteger, primary_key=True, autoincrement=False),
    Column(columns.RANK, Integer, primary_key=True, autoincrement=False),
    Column(columns.VIDEO_ID, BigInteger, nullable=False),
    Column(columns.SCORE, Double, nullable=False),
    Column(columns.CLASSIFIER_SCORE, Double),
    Column(columns.REGRESSOR_SCORE, Double),
    Column(columns.ALS_SCORE, Double),
    Column(columns.SOURCE, String(32), nullable=False),
    CheckConstraint("rank >= 1", name="rank_from_1"),
    # The primary key is the table: one user's list lies together on the disk.
    sqlite_with_rowid=False,
)

# One row at most: which run is shown. The view reads it, and the transaction that publishes moves it.
published_run = Table(
    "published_run",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column(columns.RUN_ID, Integer, ForeignKey(recommendation_run.c.run_id), nullable=False),
    CheckConstraint("slot = 1", name="one_row"),
)

# Alembic's own table, so that migrations go on from the version recorded here.
schema_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

# A scalar subquery, not a join: it is found first and the rows then through the primary key, whatever the
# database believes of how many runs there are.
_VIEW = text(
    f"CREATE VIEW {columns.LATEST_RECOMMENDATION} AS SELECT {', '.join(c.name for c in recommendation.c)} "
    f"FROM {columns.RECOMMENDATION} WHERE {columns.RUN_ID} = (SELECT {columns.RUN_ID} FROM published_run)"
)


def create(connection: Connection) -> None:
    """Make the schema where it is missing; call within a transaction, as the only writer.

    Raises InputError where the schema is of a newer nightreel, or where a table of ours is someone else's.
    """
    version = recorded_version(connection)
    if version is not None:
        if version > SCHEMA_VERSION:
            raise InputError(
                f"The database's schema is version {version}, newer than this nightreel's {SCHEMA_VERSION}.",
                "Upgrade nightreel, or publish to another database.",
            )
        return
    present = {*inspect(connection).get_table_names(), *inspect(connection).get_view_names()}
    taken = sorted(present & {*metadata.tables, columns.LATEST_RECOMMENDATION})
    if taken:
        raise InputError(
            f"The database has a table `{taken[0]}` that nightreel did not make.",
            "Publish to another database, or to another schema of it.",
        )
    metadata.create_all(connection)
    connection.execute(_VIEW)
    connection.execute(insert(schema_version).values(version_num=f"{SCHEMA_VERSION:04}"))


def recorded_version(connection: Connection) -> int | None:
    """The version of the schema in this database; None where there is none of ours.

    Raises InputError where the recorded version is not one that nightreel writes.
    """
    if not inspect(connection).has_table(schema_version.name):
        return None
    found = connection.execute(select(schema_version.c.version_num)).scalar()
    if found is None:
        return None
    if not found.isdecimal():
        raise InputError(
            f"The database's schema version is {found!r}: another program's.", "Publish to another database."
        )
    return int(found)
