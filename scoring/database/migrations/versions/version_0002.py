"""What the owner keeps off the lists, each run's seconds by stage, and the scheduler's record of its jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Add tables and a column; nothing that was there changes."""
    op.create_table(
        "blocklist",
        sa.Column("video_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "skip_user",
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text),
    )
    op.add_column("recommendation_run", sa.Column("stages", sa.Text))
    op.create_table(
        "job_run",
        sa.Column("job", sa.String(16), primary_key=True),
        sa.Column("due_at", _INSTANT, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("run_id", sa.Integer),
        sa.Column("stages", sa.Text),
        sa.Column("remarks", sa.Text),
        sa.Column("error", sa.Text),
        sa.CheckConstraint("status IN ('running', 'done', 'failed')", name="known_job_status"),
        sa.CheckConstraint("attempts >= 1", name="attempts_from_1"),
    )
