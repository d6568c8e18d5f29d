"""A view, rows that are added to its source, and logs of it: for tests of writing, wherever it goes."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa

from asof_fixtures.small_feature_repo import View, rows_of

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of("user event_timestamp created score", (1, "2020-07-05", "2020-07-05", 1.0)),
    created=True,
)
ADDED = rows_of(
    "user event_timestamp created score",
    (1, "2020-07-06", "2020-07-06", 2.0),
    (3, "2020-07-06", "2020-07-06", 3.0),
)
ASKED = rows_of("user event_timestamp", (1, "2020-07-05"), (1, "2020-07-07"), (3, "2020-07-07"))


def logs_of_two() -> pa.Table:
    """What a feature server has logged of two requests."""
    now = datetime(2020, 7, 8, 12, tzinfo=UTC)
    return pa.Table.from_pandas(
        pd.DataFrame(
            {
                "user": [1, 3],
                "score": [2.0, 3.0],
                "score__timestamp": [now, now],
                "score__status": [2, 2],
                "__log_timestamp": [now, now],
                "__log_date": [now.date(), now.date()],
                "__request_id": ["a", "b"],
            }
        ),
        preserve_index=False,
    )
