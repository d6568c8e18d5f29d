"""Runs, their lists, the pointer to the run that is shown, and the view that apps read."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Make what version 1 has."""
    op.create_table(
        "recommendation_run",
        sa.Column("run_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("as_of", _INSTANT, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("published_at", _INSTANT),
        sa.Column("users", sa.Integer),
        sa.Column("rows", sa.BigInteger),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("inputs", sa.String(64), nullable=False),
        sa.CheckConstraint("status IN ('running', 'published', 'failed')", name="known_status"),
        sa.CheckConstraint("k >= 1", name="k_from_1"),
    )
    op.create_table(
        "recommendation",
        sa.Column(
            "run_id",
            sa.Integer,
            sa.ForeignKey("recommendation_run.run_id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("video_id", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("classifier_score", sa.Double),
        sa.Column("regressor_score", sa.Double),
        sa.Column("als_score", sa.Double),
        sa.Column("source", sa.String(32), nullable=False),
        sa.CheckConstraint("rank >= 1", name="rank_from_1"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "published_run",
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("recommendation_run.run_id"), nullable=False),
        sa.CheckConstraint("slot = 1", name="one_row"),
    )
    op.execute(
        "CREATE VIEW latest_recommendation AS SELECT run_id, user_id, rank, video_id, score, "
        "classifier_score, regressor_score, als_score, source FROM recommendation "
        "WHERE run_id = (SELECT run_id FROM published_run)"
    )
