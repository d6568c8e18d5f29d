"""What each run knew: the instant by which all that it used had arrived, and its newest play."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Add two columns, empty for the runs that are there."""
    op.add_column("recommendation_run", sa.Column("known_at", _INSTANT))
    op.add_column("recommendation_run", sa.Column("newest_play_at", _INSTANT))
