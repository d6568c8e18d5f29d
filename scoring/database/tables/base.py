"""Definitions that all tables share: the statuses of runs and jobs, instants, and the schema."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    String,
    TypeDecorator,
)

from nightreel.core import columns

RUNNING = "running"
PUBLISHED = "published"
STORED = "stored"  # a replay: whole and audited, but not for apps
DONE = "done"
FAILED = "failed"


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant: TIMESTAMP WITH TIME ZONE on PostgreSQL, ISO 8601 text with +00:00 on SQLite.

    That text sorts by time, and SQLite's date functions understand it. Naive datetimes are refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no type for instants."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert to UTC, and to text if the database needs it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value}: an instant without a zone")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to a datetime in UTC."""
        if value is None:
            return None
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.astimezone(UTC)


metadata = MetaData()


def run_key(of: Column[int]) -> Column[int]:
    """The run's id as a part of a table's primary key, which refers to another table's."""
    return Column(columns.RUN_ID, Integer, ForeignKey(of), primary_key=True, autoincrement=False)
