"""The owner's tables: videos that are never listed, users without a list, and the rules of lists."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Integer,
    String,
    Table,
    Text,
)

from nightreel.core import columns
from scoring.database.id_columns import Id
from scoring.database.tables.base import UtcTimestamp, metadata

# Written by the owner, read at the beginning of each run: videos and users to exclude.
blocklist = Table(
    "blocklist",
    metadata,
    Column(columns.VIDEO_ID, Id, primary_key=True, autoincrement=False),
    Column("reason", Text),
)

skip_user = Table(
    "skip_user",
    metadata,
    Column(columns.USER_ID, Id, primary_key=True, autoincrement=False),
    Column("reason", Text),
)

# The owner's rules for lists, besides the model's order. `item` is of `item_kind`, as the log or the
# videos' files have it; a rule for an unknown item has no effect.
list_rule = Table(
    "list_rule",
    metadata,
    Column("rule_id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("item_kind", String(16), nullable=False),
    Column("item", Text, nullable=False),
    # For a pin: the rank. For a quota: how many rows.
    Column("number", Integer),
    # For a boost or a demotion: by how much the position is divided or multiplied.
    Column("strength", Double),
    # A column of the users' table and its value; none for all users.
    Column("segment_column", Text),
    Column("segment_value", Text),
    Column("valid_from", UtcTimestamp),
    Column("valid_until", UtcTimestamp),
    Column("reason", Text),
    CheckConstraint("kind IN ('pin', 'boost', 'demote', 'at_least', 'at_most')", name="known_kind"),
    CheckConstraint("item_kind IN ('video', 'author', 'category')", name="known_item_kind"),
    CheckConstraint("kind <> 'pin' OR item_kind = 'video'", name="pin_of_video"),
    CheckConstraint(
        "(kind IN ('boost', 'demote')) = (strength IS NOT NULL) AND (strength IS NULL OR strength > 1)",
        name="strength_of_move",
    ),
    CheckConstraint(
        "(kind IN ('pin', 'at_least', 'at_most')) = (number IS NOT NULL) "
        "AND (number IS NULL OR number >= 1 OR (number = 0 AND kind = 'at_most'))",
        name="number_of_rows",
    ),
    CheckConstraint("(segment_column IS NULL) = (segment_value IS NULL)", name="whole_segment"),
)
