"""The tables of the outcomes of each night's lists."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    String,
    Table,
    Text,
)

from nightreel.core import columns
from scoring.database.tables.base import UtcTimestamp, metadata, run_key

# The outcomes of a run's lists. They outlive the run's own rows, which are pruned.
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
    return run_key(list_night.c[columns.RUN_ID])


def _counts() -> tuple[Column[int | None], ...]:
    """Rows of lists; of these, rows that were displayed, and rows whose video the user played or liked.

    Displayed: none where no exposure log has the run. Played: while the lists were shown, or within a day of
    the display.
    """
    return (
        Column("listed", BigInteger, nullable=False),
        Column("shown", BigInteger),
        Column("played", BigInteger, nullable=False),
        Column("liked", BigInteger, nullable=False),
        Column("watch_ms", BigInteger, nullable=False),
    )


list_outcome = Table(
    "list_outcome",
    metadata,
    _night_key(),
    Column(columns.SOURCE, String(32), primary_key=True),
    Column("rank_from", Integer, primary_key=True, autoincrement=False),
    Column("rank_to", Integer, nullable=False),
    Column("segment", String(16), primary_key=True),
    *_counts(),
)

# The same rows by candidate source; a row that several sources named counts for each.
list_candidate = Table(
    "list_candidate",
    metadata,
    _night_key(),
    Column("candidate_source", String(64), primary_key=True),
    *_counts(),
)

# For each position at which an app displayed a run's rows: how many rows, and how many were played or liked
# within a day after. Position 0 stands for displays without a position, 101 for all beyond 100.
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
    # As in the settings; the first arm is the baseline, and another salt makes another experiment.
    Column("position", Integer, nullable=False),
    Column("salt", Text, nullable=False),
    # The share of all users in the settings.
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
    # Users reached by one of the two and not by the other, for a paired interval.
    Column("list_only", Integer, nullable=False),
    Column("popularity_only", Integer, nullable=False),
)
