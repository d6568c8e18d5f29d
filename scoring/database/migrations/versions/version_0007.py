"""The loop: rules, draws and arms of rows, repeats, outcomes by arm and candidate source."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
_COLUMNS = (
    "run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source, "
    "candidate_sources"
)
_ADDED = "rule, propensity, arm"


def upgrade() -> None:
    """Add columns, empty for the rows that are there, and tables without rows."""
    op.add_column("recommendation", sa.Column("rule", sa.Text))
    op.add_column("recommendation", sa.Column("propensity", sa.Double))
    op.add_column("recommendation", sa.Column("arm", sa.String(64)))
    op.add_column("recommendation_run", sa.Column("arms", sa.Text))
    op.add_column("recommendation_run", sa.Column("remarks", sa.Text))
    if op.get_context().dialect.name == "postgresql":
        # Replaced, not dropped: readers keep their grants, and views over it stay.
        op.execute(_view("CREATE OR REPLACE VIEW", f"{_COLUMNS}, {_ADDED}"))
    else:
        op.execute("DROP VIEW latest_recommendation")
        op.execute(_view("CREATE VIEW", f"{_COLUMNS}, {_ADDED}"))
    _list_rule()
    # Ids have the type that those of the lists have.
    op.execute(
        "CREATE TABLE list_repeat (run_id INTEGER NOT NULL REFERENCES recommendation_run (run_id), "
        f"user_id {_type_of_users()} NOT NULL, listed TEXT NOT NULL, PRIMARY KEY (run_id, user_id))"
        + (" WITHOUT ROWID" if op.get_context().dialect.name == "sqlite" else "")
    )
    _figures()


def downgrade() -> None:
    """Take all of it away again; on PostgreSQL readers must be granted the view again."""
    for name in ("list_arm", "list_candidate", "list_repeat", "list_rule"):
        op.drop_table(name)
    op.execute("DROP VIEW latest_recommendation")
    for name in ("rule", "propensity", "arm"):
        op.drop_column("recommendation", name)
    op.execute(_view("CREATE VIEW", _COLUMNS))
    op.drop_column("recommendation_run", "arms")
    op.drop_column("recommendation_run", "remarks")


def _list_rule() -> None:
    op.create_table(
        "list_rule",
        sa.Column("rule_id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("item_kind", sa.String(16), nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("strength", sa.Double),
        sa.Column("segment_column", sa.Text),
        sa.Column("segment_value", sa.Text),
        sa.Column("valid_from", _INSTANT),
        sa.Column("valid_until", _INSTANT),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("kind IN ('pin', 'boost', 'demote', 'at_least', 'at_most')", name="known_kind"),
        sa.CheckConstraint("item_kind IN ('video', 'author', 'category')", name="known_item_kind"),
        sa.CheckConstraint("kind <> 'pin' OR item_kind = 'video'", name="pin_of_video"),
        sa.CheckConstraint(
            "(kind IN ('boost', 'demote')) = (strength IS NOT NULL) AND (strength IS NULL OR strength > 1)",
            name="strength_of_move",
        ),
        sa.CheckConstraint(
            "(kind IN ('pin', 'at_least', 'at_most')) = (number IS NOT NULL) "
            "AND (number IS NULL OR number >= 1 OR (number = 0 AND kind = 'at_most'))",
            name="number_of_rows",
        ),
        sa.CheckConstraint("(segment_column IS NULL) = (segment_value IS NULL)", name="whole_segment"),
    )


def _figures() -> None:
    op.create_table(
        "list_candidate",
        _night_key(),
        sa.Column("candidate_source", sa.String(64), primary_key=True),
        sa.Column("listed", sa.BigInteger, nullable=False),
        sa.Column("played", sa.BigInteger, nullable=False),
        sa.Column("liked", sa.BigInteger, nullable=False),
        sa.Column("watch_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "list_arm",
        _night_key(),
        sa.Column("arm", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("users", sa.Integer, nullable=False),
        sa.Column("active_users", sa.Integer, nullable=False),
        sa.Column("reached", sa.Integer, nullable=False),
        sa.Column("reached_liked", sa.Integer, nullable=False),
        sa.Column("played", sa.BigInteger, nullable=False),
        sa.Column("played_squared", sa.BigInteger, nullable=False),
    )


def _night_key() -> "sa.Column[int]":
    return sa.Column(
        "run_id", sa.Integer, sa.ForeignKey("list_night.run_id"), primary_key=True, autoincrement=False
    )


def _type_of_users() -> str:
    found = sa.inspect(op.get_bind()).get_columns("recommendation")
    (of_users,) = [one["type"] for one in found if one["name"] == "user_id"]
    return "BIGINT" if isinstance(of_users, sa.BigInteger) else "TEXT"


def _view(create: str, names: str) -> str:
    return (
        f"{create} latest_recommendation AS SELECT {names} FROM recommendation "
        "WHERE run_id = (SELECT run_id FROM published_run)"
    )
