"""The outcomes of each shown list: when it was shown, what was played and liked, and by whom."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Add four tables; every published run counts as shown since its publication, as far as known."""
    op.create_table(
        "list_flip",
        sa.Column("shown_at", _INSTANT, primary_key=True),
        sa.Column("run_id", sa.Integer, primary_key=True, autoincrement=False),
    )
    op.execute(
        "INSERT INTO list_flip (shown_at, run_id) SELECT published_at, run_id FROM recommendation_run "
        "WHERE status = 'published' AND published_at IS NOT NULL"
    )
    op.create_table(
        "list_night",
        sa.Column("run_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("as_of", _INSTANT, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("shown_from", _INSTANT, nullable=False),
        sa.Column("shown_until", _INSTANT, nullable=False),
        sa.Column("log_until", _INSTANT),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("users", sa.Integer, nullable=False),
        sa.Column("active_users", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("dated_rows", sa.BigInteger, nullable=False),
        sa.Column("fresh_rows", sa.BigInteger, nullable=False),
        sa.Column("videos_listed", sa.Integer, nullable=False),
        sa.Column("videos_known", sa.Integer, nullable=False),
        sa.Column("plays", sa.BigInteger, nullable=False),
        sa.Column("inputs", sa.String(64), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
    )
    op.create_table(
        "list_outcome",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("list_night.run_id"), primary_key=True, autoincrement=False
        ),
        sa.Column("source", sa.String(32), primary_key=True),
        sa.Column("rank_from", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rank_to", sa.Integer, nullable=False),
        sa.Column("segment", sa.String(16), primary_key=True),
        sa.Column("listed", sa.BigInteger, nullable=False),
        sa.Column("played", sa.BigInteger, nullable=False),
        sa.Column("liked", sa.BigInteger, nullable=False),
        sa.Column("watch_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "list_reach",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("list_night.run_id"), primary_key=True, autoincrement=False
        ),
        sa.Column("hit", sa.String(16), primary_key=True),
        sa.Column("depth", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("users_list", sa.Integer, nullable=False),
        sa.Column("users_popularity", sa.Integer, nullable=False),
        sa.Column("list_only", sa.Integer, nullable=False),
        sa.Column("popularity_only", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop the four tables; nothing else reads them."""
    for name in ("list_reach", "list_outcome", "list_night", "list_flip"):
        op.drop_table(name)
