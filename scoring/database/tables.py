"""The tables of the newest version of the published schema; `scoring.database.migrations` creates them.

For readers: `recommendation_run`, and `recommendation`, `related_recommendation`, `popular_recommendation`
with the views `latest_recommendation`, `latest_related`, `latest_popular` over them.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

from nightreel.core import columns
from scoring.database.id_columns import Id

RUNNING = "running"
PUBLISHED = "published"
STORED = "stored"  # a replay: whole and audited, but not for apps
DONE = "done"
FAILED = "failed"


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant: TIMESTAMP WITH TIME ZONE on PostgreSQL, ISO 8601 text with +00:00 on SQLite.

    That text sorts by time, and SQLite's date functions understand it. Naive datetimes are refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite, which has no type for instants."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert to UTC, and to text if the database needs it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value}: an instant without a zone")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to a datetime in UTC."""
        if value is None:
            return None
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.astimezone(UTC)


metadata = MetaData()

recommendation_run = Table(
    columns.RECOMMENDATION_RUN,
    metadata,
    Column(columns.RUN_ID, Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("as_of", UtcTimestamp, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("published_at", UtcTimestamp),
    Column("users", Integer),
    Column("rows", BigInteger),
    Column("k", Integer, nullable=False),
    Column("error", Text),
    # Digest of the input files, model, instant and settings: the same again is skipped.
    Column("inputs", String(64), nullable=False),
    # JSON: seconds by stage.
    Column("stages", Text),
    # By when all had arrived that the run used; none for runs of before there was such a column.
    Column("known_at", UtcTimestamp),
    Column("newest_play_at", UtcTimestamp),
    # Made of the past on purpose; it never counts as a night's list.
    Column("replay", Boolean, nullable=False, server_default=false()),
    # JSON: each arm of the experiment, with its share, model version and settings; none without one.
    Column("arms", Text),
    # What went otherwise than the rules asked, a line each.
    Column("remarks", Text),
    CheckConstraint(f"status IN ('{RUNNING}', '{PUBLISHED}', '{STORED}', '{FAILED}')", name="known_status"),
    CheckConstraint("k >= 1", name="k_from_1"),
)


def _run_key() -> Column[int]:
    return Column(
        columns.RUN_ID,
        Integer,
        ForeignKey(recommendation_run.c.run_id),
        primary_key=True,
        autoincrement=False,
    )


recommendation = Table(
    columns.RECOMMENDATION,
    metadata,
    _run_key(),
    Column(columns.USER_ID, Id, primary_key=True, autoincrement=False),
    Column(columns.RANK, Integer, primary_key=True, autoincrement=False),
    Column(columns.VIDEO_ID, Id, nullable=False),
    Column(columns.SCORE, Double, nullable=False),
    Column(columns.CLASSIFIER_SCORE, Double),
    Column(columns.REGRESSOR_SCORE, Double),
    Column(columns.ALS_SCORE, Double),
    Column(columns.SOURCE, String(32), nullable=False),
    # Names with commas between: which candidate sources brought the video; none for a fallback's rows.
    Column(columns.CANDIDATE_SOURCES, Text),
    # What moved the row, as `pin:3`, with commas between; none where the model's order stands.
    Column(columns.RULE, Text),
    # The probability of this video at this rank, given those before it; none where nothing is drawn.
    Column(columns.PROPENSITY, Double),
    # Of the experiment; none where there is none.
    Column(columns.ARM, String(64)),
    CheckConstraint("rank >= 1", name="rank_from_1"),
    # The primary key is the table: one user's list lies together on the disk.
    sqlite_with_rowid=False,
)


# For each video those that are nearest to it.
related_recommendation = Table(
    columns.RELATED,
    metadata,
    _run_key(),
    Column(columns.VIDEO_ID, Id, primary_key=True, autoincrement=False),
    Column(columns.RANK, Integer, primary_key=True, autoincrement=False),
    Column(columns.RELATED_VIDEO_ID, Id, nullable=False),
    Column(columns.SCORE, Double, nullable=False),
    Column(columns.SOURCE, String(32), nullable=False),
    CheckConstraint("rank >= 1", name="related_rank_from_1"),
    sqlite_with_rowid=False,
)

# For visitors without an id: a list for all (segment `overall`, an empty value), and by values of users.
popular_recommendation = Table(
    columns.POPULAR,
    metadata,
    _run_key(),
    Column(columns.SEGMENT, Text, primary_key=True),
    Column(columns.VALUE, Text, primary_key=True),
    Column(columns.RANK, Integer, primary_key=True, autoincrement=False),
    Column(columns.VIDEO_ID, Id, nullable=False),
    Column(columns.SCORE, Double, nullable=False),
    Column(columns.SOURCE, String(32), nullable=False),
    CheckConstraint("rank >= 1", name="popular_rank_from_1"),
    sqlite_with_rowid=False,
)

# What a run has of those two kinds: how many lists, and how many of them have fewer than k rows.
shared_list_run = Table(
    "shared_list_run",
    metadata,
    _run_key(),
    Column("kind", String(16), primary_key=True),
    Column("k", Integer, nullable=False),
    Column("lists", Integer, nullable=False),
    Column("short_lists", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
)

# What goes when a run goes.
OF_RUNS = (recommendation, related_recommendation, popular_recommendation, shared_list_run)

# One row at most: which run is shown. The views read it, and the transaction that publishes moves it.
published_run = Table(
    "published_run",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column(columns.RUN_ID, Integer, ForeignKey(recommendation_run.c.run_id), nullable=False),
    CheckConstraint("slot = 1", name="one_row"),
)

# Kept by the owner, read at the beginning of each run: what is never listed, and who gets no list.
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

# What the owner wants of lists beside the model's order. `item` is of `item_kind`, as the log or the
# videos' files have it; a rule without one is of nothing.
list_rule = Table(
    "list_rule",
    metadata,
    Column("rule_id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("item_kind", String(16), nullable=False),
    Column("item", Text, nullable=False),
    # Of a pin: where in the list. Of a quota: how many rows.
    Column("number", Integer),
    # Of a boost or a demotion: by how much the position is divided or multiplied.
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

# Of each user, after a run that was shown: what its first ranks and those of earlier nights have listed
# and the user has not played. One row a user, so that ten million users are as many rows.
list_repeat = Table(
    "list_repeat",
    metadata,
    Column(
        columns.RUN_ID,
        Integer,
        ForeignKey(recommendation_run.c.run_id),
        primary_key=True,
        autoincrement=False,
    ),
    Column(columns.USER_ID, Id, primary_key=True, autoincrement=False),
    # In JSON, a pair for each video: its id, and in how many nights.
    Column("listed", Text, nullable=False),
    sqlite_with_rowid=False,
)

# What has ids, whose types are those of the home's.
OF_IDS = (recommendation, related_recommendation, popular_recommendation, blocklist, skip_user, list_repeat)

# The scheduler's jobs by the instant at which each was due: what is still to be done is read from here.
job_run = Table(
    "job_run",
    metadata,
    Column("job", String(16), primary_key=True),
    Column("due_at", UtcTimestamp, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("ended_at", UtcTimestamp),
    # Of the lists that the job has published or found published.
    Column(columns.RUN_ID, Integer),
    # JSON: seconds by stage.
    Column("stages", Text),
    # What went on without: files set aside, a champion kept.
    Column("remarks", Text),
    Column("error", Text),
    CheckConstraint(f"status IN ('{RUNNING}', '{DONE}', '{FAILED}')", name="known_job_status"),
    CheckConstraint("attempts >= 1", name="attempts_from_1"),
)

# What a row of a list says, beside whose and which run's it is.
ROW_FIELDS = (
    columns.RANK,
    columns.VIDEO_ID,
    columns.SCORE,
    columns.CLASSIFIER_SCORE,
    columns.REGRESSOR_SCORE,
    columns.ALS_SCORE,
    columns.SOURCE,
    columns.CANDIDATE_SOURCES,
    columns.RULE,
    columns.PROPENSITY,
    columns.ARM,
)

# Since when apps have read which run: a row for each move of the pointer, by a publish or a rollback.
list_flip = Table(
    "list_flip",
    metadata,
    Column("shown_at", UtcTimestamp, primary_key=True),
    Column(columns.RUN_ID, Integer, primary_key=True, autoincrement=False),
)

# What was made of a run's lists. It outlives the run's own rows, which are pruned.
list_night = Table(
    "list_night",
    metadata,
    Column(columns.RUN_ID, Integer, primary_key=True, autoincrement=False),
    # Whether apps read the lists; a replay's count as shown from their as_of on.
    Column("shown", Boolean, nullable=False),
    Column("as_of", UtcTimestamp, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("shown_from", UtcTimestamp, nullable=False),
    Column("shown_until", UtcTimestamp, nullable=False),
    # The newest play of the log when this was counted.
    Column("log_until", UtcTimestamp),
    Column("k", Integer, nullable=False),
    Column("users", Integer, nullable=False),
    # Those of them who played anything while the lists were shown.
    Column("active_users", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("dated_rows", BigInteger, nullable=False),
    Column("fresh_rows", BigInteger, nullable=False),
    Column("videos_listed", Integer, nullable=False),
    Column("videos_known", Integer, nullable=False),
    Column("plays", BigInteger, nullable=False),
    # By the exposure log, none where it has nothing of the run: displays of listed rows and of others that
    # name the run, and users who were shown a listed row.
    Column("exposures", BigInteger),
    Column("other_exposures", BigInteger),
    Column("exposed_users", Integer),
    # Digest of what was counted: the same again is skipped.
    Column("inputs", String(64), nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
)


def _night_key() -> Column[int]:
    return Column(
        columns.RUN_ID,
        Integer,
        ForeignKey(list_night.c[columns.RUN_ID]),
        primary_key=True,
        autoincrement=False,
    )


list_outcome = Table(
    "list_outcome",
    metadata,
    _night_key(),
    Column(columns.SOURCE, String(32), primary_key=True),
    Column("rank_from", Integer, primary_key=True, autoincrement=False),
    Column("rank_to", Integer, nullable=False),
    Column("segment", String(16), primary_key=True),
    # Rows of lists; of these, rows that were displayed (none where no exposure log has the run), and rows
    # whose video the user played or liked: while the lists were shown, or within a day of the display.
    Column("listed", BigInteger, nullable=False),
    Column("shown", BigInteger),
    Column("played", BigInteger, nullable=False),
    Column("liked", BigInteger, nullable=False),
    Column("watch_ms", BigInteger, nullable=False),
)

# The same rows by what brought them; one that several sources brought counts for each.
list_candidate = Table(
    "list_candidate",
    metadata,
    _night_key(),
    Column("candidate_source", String(64), primary_key=True),
    Column("listed", BigInteger, nullable=False),
    Column("shown", BigInteger),
    Column("played", BigInteger, nullable=False),
    Column("liked", BigInteger, nullable=False),
    Column("watch_ms", BigInteger, nullable=False),
)

# Of each position at which an app displayed a run's rows: such rows, and those played or liked within a day
# of it. Position 0 is of displays that name none, 101 of all beyond 100.
list_exposure = Table(
    "list_exposure",
    metadata,
    _night_key(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("shown", BigInteger, nullable=False),
    Column("played", BigInteger, nullable=False),
    Column("liked", BigInteger, nullable=False),
)

# The arms of a run's experiment: sums over users that intervals and tests are made of.
list_arm = Table(
    "list_arm",
    metadata,
    _night_key(),
    Column("arm", String(64), primary_key=True),
    # Of the settings: the first arm is the one compared with, and another salt is another experiment.
    Column("position", Integer, nullable=False),
    Column("salt", Text, nullable=False),
    # What the settings ask for, of all users.
    Column("share", Double, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("users", Integer, nullable=False),
    Column("active_users", Integer, nullable=False),
    # Active users who played, who liked something of their list.
    Column("reached", Integer, nullable=False),
    Column("reached_liked", Integer, nullable=False),
    # Rows played by each active user: their sum, and that of their squares.
    Column("played", BigInteger, nullable=False),
    Column("played_squared", BigInteger, nullable=False),
    # The same of rows liked; none for nights that were counted before there was such a column.
    Column("liked", BigInteger),
    Column("liked_squared", BigInteger),
)

# Users with a hit among the first `depth`, of their list and of yesterday's most liked videos.
list_reach = Table(
    "list_reach",
    metadata,
    _night_key(),
    Column("hit", String(16), primary_key=True),
    Column("depth", Integer, primary_key=True, autoincrement=False),
    Column("users_list", Integer, nullable=False),
    Column("users_popularity", Integer, nullable=False),
    # Reached by one of the two and not by the other: what a paired interval is made of.
    Column("list_only", Integer, nullable=False),
    Column("popularity_only", Integer, nullable=False),
)
