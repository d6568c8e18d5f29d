"""The tables of runs and their lists, and of the scheduler's jobs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    false,
)

from nightreel.core import columns
from scoring.database.id_columns import Id
from scoring.database.tables.base import (
    DONE,
    FAILED,
    PUBLISHED,
    RUNNING,
    STORED,
    UtcTimestamp,
    metadata,
    run_key,
)

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
    # The latest arrival that the run used; none for runs from before this column existed.
    Column("known_at", UtcTimestamp),
    Column("newest_play_at", UtcTimestamp),
    # Made of the past on purpose; it never counts as a night's list.
    Column("replay", Boolean, nullable=False, server_default=false()),
    # JSON: each arm of the experiment, with its share, model version and settings; none without one.
    Column("arms", Text),
    # A line for each rule that some lists could not meet.
    Column("remarks", Text),
    CheckConstraint(f"status IN ('{RUNNING}', '{PUBLISHED}', '{STORED}', '{FAILED}')", name="known_status"),
    CheckConstraint("k >= 1", name="k_from_1"),
)


def _run_key() -> Column[int]:
    return run_key(recommendation_run.c.run_id)


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
    # The rules that moved the row, like `pin:3`, separated by commas; null in the model's own order.
    Column(columns.RULE, Text),
    # The probability of this video at this rank, given those before it; none where nothing is drawn.
    Column(columns.PROPENSITY, Double),
    # In an experiment; none without one.
    Column(columns.ARM, String(64)),
    CheckConstraint("rank >= 1", name="rank_from_1"),
    # The table is stored by its primary key: a user's list is together on disk.
    sqlite_with_rowid=False,
)


# The related videos of each video.
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

# Counts of a run's lists of these two kinds: all, and those with fewer than k rows.
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

# One row at most: which run is shown. The views read it, and the transaction that publishes moves it.
published_run = Table(
    "published_run",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column(columns.RUN_ID, Integer, ForeignKey(recommendation_run.c.run_id), nullable=False),
    CheckConstraint("slot = 1", name="one_row"),
)

# For each user, after a run that was shown: videos in its first ranks and those of earlier nights that the
# user has not played. One row per user, so that ten million users are as many rows.
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

# The scheduler's jobs by the instant at which each was due; the jobs still to be done follow from it.
job_run = Table(
    "job_run",
    metadata,
    Column("job", String(16), primary_key=True),
    Column("due_at", UtcTimestamp, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("ended_at", UtcTimestamp),
    # The run of the lists that the job has published or found published.
    Column(columns.RUN_ID, Integer),
    # JSON: seconds by stage.
    Column("stages", Text),
    # What the job did without: files in quarantine, a new model that was not promoted.
    Column("remarks", Text),
    Column("error", Text),
    CheckConstraint(f"status IN ('{RUNNING}', '{DONE}', '{FAILED}')", name="known_job_status"),
    CheckConstraint("attempts >= 1", name="attempts_from_1"),
)

# The columns of a list's row besides its run and user.
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
