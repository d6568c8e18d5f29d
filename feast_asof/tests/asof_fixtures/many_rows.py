"""Views and entity rows of any number, at random times."""

import numpy as np
import pandas as pd
import pyarrow as pa

from asof_fixtures.small_feature_repo import View

KEYS, SOURCE_ROWS = 200, 6_000


def views_of(seed: int) -> list[View]:
    """A view by user and one by user and video, of random values on random days."""
    random = np.random.default_rng(seed)
    views = []
    for name, keys in (("stats", ["user"]), ("pairs", ["user", "video"])):
        frame = pd.DataFrame({key: random.integers(0, KEYS, SOURCE_ROWS) for key in keys})
        frame["event_timestamp"] = _times(random, SOURCE_ROWS)
        frame[f"{name}_score"] = random.random(SOURCE_ROWS)
        views.append(View(name, keys, [f"{name}_score"], frame))
    return views


def _times(random: np.random.Generator, rows: int) -> pd.Series:
    seconds = random.integers(0, 30 * 86_400, rows)
    return pd.Series(pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(seconds, unit="s")).dt.as_unit(
        "us"
    )


def entities_of(seed: int, rows: int) -> pa.Table:
    """Rows that ask for values of both views; some users have none."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "row": np.arange(rows),
            "user": random.integers(0, KEYS + 20, rows),
            "video": random.integers(0, KEYS, rows),
            "event_timestamp": pa.array(_times(random, rows)),
        }
    )
