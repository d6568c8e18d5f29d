"""The tables of the newest version of the published schema; `scoring.database.migrations` creates them.

For readers: `recommendation_run`, and `recommendation`, `related_recommendation`, `popular_recommendation`
with the views `latest_recommendation`, `latest_related`, `latest_popular` over them.
"""

from scoring.database.tables.base import DONE, FAILED, PUBLISHED, RUNNING, STORED, UtcTimestamp, metadata
from scoring.database.tables.outcomes import (
    list_arm,
    list_candidate,
    list_exposure,
    list_night,
    list_outcome,
    list_reach,
)
from scoring.database.tables.owner import blocklist, list_rule, skip_user
from scoring.database.tables.runs import (
    ROW_FIELDS,
    job_run,
    list_flip,
    list_repeat,
    popular_recommendation,
    published_run,
    recommendation,
    recommendation_run,
    related_recommendation,
    shared_list_run,
)

__all__ = [
    "DONE",
    "FAILED",
    "OF_IDS",
    "OF_RUNS",
    "PUBLISHED",
    "ROW_FIELDS",
    "RUNNING",
    "STORED",
    "UtcTimestamp",
    "blocklist",
    "job_run",
    "list_arm",
    "list_candidate",
    "list_exposure",
    "list_flip",
    "list_night",
    "list_outcome",
    "list_reach",
    "list_repeat",
    "list_rule",
    "metadata",
    "popular_recommendation",
    "published_run",
    "recommendation",
    "recommendation_run",
    "related_recommendation",
    "shared_list_run",
    "skip_user",
]

# Tables whose rows are removed with their run.
OF_RUNS = (recommendation, related_recommendation, popular_recommendation, shared_list_run)

# Tables with ids, which have the types of the home's ids.
OF_IDS = (recommendation, related_recommendation, popular_recommendation, blocklist, skip_user, list_repeat)
