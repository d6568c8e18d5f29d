"""Replays: runs that are stored and not shown, and which of the runs is one."""

import sqlalchemy as sa
from alembic import op

from nightreel.core.errors import InputError

revision = "0004"
down_revision = "0003"

_RUNS = "recommendation_run"
_BEFORE = "status IN ('running', 'published', 'failed')"
_NOW = "status IN ('running', 'published', 'stored', 'failed')"


def upgrade() -> None:
    """Let a run be `stored`, and mark replays; the runs that are there are none."""
    op.add_column(_RUNS, sa.Column("replay", sa.Boolean, nullable=False, server_default=sa.false()))
    if op.get_bind().dialect.name == "sqlite":
        _change_check_of_sqlite()
    else:
        op.drop_constraint("known_status", _RUNS, type_="check")
        op.create_check_constraint("known_status", _RUNS, _NOW)


def _change_check_of_sqlite() -> None:
    """Change the constraint's text, as https://sqlite.org/lang_altertable.html says for changes of that kind.

    A rebuilt table would have to be dropped first, and every row of every list references it.
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    changed = connection.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :now) "
            "WHERE type = 'table' AND name = :runs AND instr(sql, :before)"
        ),
        {"before": _BEFORE, "now": _NOW, "runs": _RUNS},
    )
    if changed.rowcount != 1:
        raise InputError(
            f"The database's table `{_RUNS}` lacks the constraint that nightreel gave it: it was changed.",
            "Publish to another database.",
        )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    # Off again, and this connection rereads the schema.
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
