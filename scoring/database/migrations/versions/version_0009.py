"""What an app has displayed, by row and by position, and what each arm's users liked."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ADDED = (
    ("list_outcome", "shown", sa.BigInteger),
    ("list_candidate", "shown", sa.BigInteger),
    ("list_night", "exposures", sa.BigInteger),
    ("list_night", "other_exposures", sa.BigInteger),
    ("list_night", "exposed_users", sa.Integer),
    ("list_arm", "liked", sa.BigInteger),
    ("list_arm", "liked_squared", sa.BigInteger),
)


def upgrade() -> None:
    """Add columns, empty for the nights that are there, and a table without rows."""
    for table, name, kind in _ADDED:
        op.add_column(table, sa.Column(name, kind))
    op.create_table(
        "list_exposure",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("list_night.run_id"), primary_key=True, autoincrement=False
        ),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("shown", sa.BigInteger, nullable=False),
        sa.Column("played", sa.BigInteger, nullable=False),
        sa.Column("liked", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Take them away again; nothing else reads them."""
    op.drop_table("list_exposure")
    for table, name, _ in reversed(_ADDED):
        op.drop_column(table, name)
