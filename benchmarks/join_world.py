"""What the benchmarks of the join ask: five views and 90 features of KuaiRec's shape, and entity rows."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, VIDEOS, DAYS = 7_176, 10_728, 63
START = np.datetime64("2020-07-05", "us")
DAY = np.timedelta64(1, "D")
# view: key, rows a key, features
VIEWS = {
    "user_profile": ("user_id", 1, 18),
    "user_activity": ("user_id", 40, 5),
    "video_text": ("video_id", 1, 50),
    "video_daily_popularity": ("video_id", 32, 12),
    "video_engagement": ("video_id", 32, 5),
}
# Rows of each source that is like a log: as many instants.
LOG_ROWS = 1_000_000


def make_sources(folder: Path, shape: str = "daily") -> None:
    """The five parquet sources. daily: sorted by key and time; log: LOG_ROWS each, any key, in time order."""
    random = np.random.default_rng(7)
    for view, (key, rows_a_key, features) in VIEWS.items():
        keys = np.arange(USERS if key == "user_id" else VIDEOS)
        ids = np.repeat(keys, rows_a_key)
        if shape == "log":
            ids = random.integers(0, len(keys), LOG_ROWS)
            spread = np.sort(random.choice(DAYS * 86_400 * 1_000, LOG_ROWS, replace=False)) * 1_000
            times = START - DAY + spread.astype("timedelta64[us]")
        elif rows_a_key == 1:
            times = np.full(len(ids), START - 400 * DAY)
        else:
            days = np.argsort(random.random((len(keys), DAYS)), axis=1)[:, :rows_a_key]
            times = START + np.sort(days, axis=1).ravel() * DAY
        columns = {key: ids, "event_timestamp": pa.array(times).cast(pa.timestamp("us", "UTC"))}
        for feature in range(features):
            columns[f"{view}_{feature}"] = random.random(len(ids), dtype=np.float32)
        pq.write_table(pa.table(columns), folder / f"{view}.parquet")


def make_entities(path: Path, rows: int) -> None:
    """The interactions: random pairs over the period, in time order, written in pieces."""
    random = np.random.default_rng(8)
    piece_rows = 1_000_000
    writer = None
    for start in range(0, rows, piece_rows):
        count = min(piece_rows, rows - start)
        spread = (start + np.sort(random.random(count)) * count) / rows * DAYS * 86_400e6
        table = pa.table(
            {
                "user_id": random.integers(0, USERS, count),
                "video_id": random.integers(0, VIDEOS, count),
                "event_timestamp": pa.array(START + spread.astype("timedelta64[us]")).cast(
                    pa.timestamp("us", "UTC")
                ),
                "watch_ratio": random.random(count, dtype=np.float32),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


@contextmanager
def small_feature_store(
    folder: Path, offline_store: dict[str, Any], ttl_days: int = 0
) -> Iterator[tuple[Any, list[str], Path]]:
    """A FeatureStore over the sources in `folder`, the names of all its features, and a folder for output."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float32

    keys = {
        name: Entity(name=name.removesuffix("_id"), join_keys=[name], value_type=ValueType.INT64)
        for name in ("user_id", "video_id")
    }
    # A profile has no age; the short ttl is for what is renewed daily.
    views = [
        FeatureView(
            name=view,
            entities=[keys[key]],
            ttl=timedelta(days=ttl_days if rows_a_key > 1 else 0),
            schema=[Field(name=f"{view}_{feature}", dtype=Float32) for feature in range(features)],
            source=FileSource(path=str(folder / f"{view}.parquet"), timestamp_field="event_timestamp"),
        )
        for view, (key, rows_a_key, features) in VIEWS.items()
    ]
    with tempfile.TemporaryDirectory() as home:
        config = RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(Path(home) / "registry.db"),
            online_store=None,
            offline_store=offline_store,
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        store.apply([*keys.values(), *views])
        yield store, [f"{view.name}:{field.name}" for view in views for field in view.features], Path(home)
