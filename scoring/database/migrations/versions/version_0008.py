"""Lists that are not a user's: each video's related ones, popular ones by segment, and their views."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add three tables and two views, empty until a run fills them; nothing that was there changes."""
    op.create_table(
        "related_recommendation",
        _run(),
        sa.Column("video_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("related_video_id", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.CheckConstraint("rank >= 1", name="related_rank_from_1"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "popular_recommendation",
        _run(),
        sa.Column("segment", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("video_id", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.CheckConstraint("rank >= 1", name="popular_rank_from_1"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shared_list_run",
        _run(),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("lists", sa.Integer, nullable=False),
        sa.Column("short_lists", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
    op.execute(
        "CREATE VIEW latest_related AS SELECT run_id, video_id, rank, related_video_id, score, source "
        "FROM related_recommendation WHERE run_id = (SELECT run_id FROM published_run)"
    )
    op.execute(
        "CREATE VIEW latest_popular AS SELECT run_id, segment, value, rank, video_id, score, source "
        "FROM popular_recommendation WHERE run_id = (SELECT run_id FROM published_run)"
    )


def downgrade() -> None:
    """Drop them; nothing else reads them."""
    for view in ("latest_popular", "latest_related"):
        op.execute(f"DROP VIEW {view}")
    for table in ("shared_list_run", "popular_recommendation", "related_recommendation"):
        op.drop_table(table)


def _run() -> "sa.Column[int]":
    return sa.Column(
        "run_id",
        sa.Integer,
        sa.ForeignKey("recommendation_run.run_id"),
        primary_key=True,
        autoincrement=False,
    )
