"""Which candidate sources brought each video; the view has the new column behind those that it had."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS = "run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source"


def upgrade() -> None:
    """Add a column, empty for the rows that are there."""
    op.add_column("recommendation", sa.Column("candidate_sources", sa.Text))
    if op.get_context().dialect.name == "postgresql":
        # Replaced, not dropped: readers keep their grants, and views over it stay.
        op.execute(_view("CREATE OR REPLACE VIEW", f"{_COLUMNS}, candidate_sources"))
    else:
        op.execute("DROP VIEW latest_recommendation")
        op.execute(_view("CREATE VIEW", f"{_COLUMNS}, candidate_sources"))


def downgrade() -> None:
    """Take the column away again; on PostgreSQL readers must be granted the view again."""
    op.execute("DROP VIEW latest_recommendation")
    op.drop_column("recommendation", "candidate_sources")
    op.execute(_view("CREATE VIEW", _COLUMNS))


def _view(create: str, names: str) -> str:
    return (
        f"{create} latest_recommendation AS SELECT {names} FROM recommendation "
        "WHERE run_id = (SELECT run_id FROM published_run)"
    )
