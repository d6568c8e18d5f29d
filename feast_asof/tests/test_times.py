"""Times in the entity dataframe and in sources: with any zone, with none, of any precision."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from asof_fixtures.installed import created_filter
from asof_fixtures.small_feature_repo import View, joined_as_duckdb_does, open_store, rows_of, values
from feast_asof import AsOfError

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of("user event_timestamp score", (1, "2020-07-05 16:00", 1.0), (1, "2020-11-01 06:30", 2.0)),
)
STATS_OTHER = View("other", ["user"], ["x"], rows_of("user event_timestamp x", (1, "2020-07-05", 1.0)))
REFERENCE = ["stats:score"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/St_Johns", "+05:45"])
def test_an_instant_is_the_same_in_every_zone(tmp_path: Path, zone: str) -> None:
    """A microsecond before and at the value's instant, said in the zone's own hours."""
    edge = rows_of("user event_timestamp", (1, "2020-07-05 15:59:59.999999"), (1, "2020-07-05 16:00"))
    edge["event_timestamp"] = edge["event_timestamp"].dt.tz_convert(zone)
    assert values(joined_as_duckdb_does(tmp_path, [STATS], edge)["score"]) == [None, 1.0]


def test_a_time_without_zone_is_utc(tmp_path: Path) -> None:
    """As in Feast: naive timestamps are not taken for the machine's zone."""
    naive = rows_of("user event_timestamp", (1, "2020-07-05 15:59:59.999999"), (1, "2020-07-05 16:00"))
    naive["event_timestamp"] = naive["event_timestamp"].dt.tz_localize(None)
    assert values(joined_as_duckdb_does(tmp_path, [STATS], naive)["score"]) == [None, 1.0]


def test_an_hour_that_summer_time_repeats_is_two_instants(tmp_path: Path) -> None:
    """01:30 in New York on 1 November 2020 was twice; the value came with the second."""
    repeated = pd.DataFrame({"user": [1, 1]})
    local = pd.DatetimeIndex(["2020-11-01 01:30", "2020-11-01 01:30"])
    repeated["event_timestamp"] = local.tz_localize("America/New_York", ambiguous=[True, False]).as_unit("us")
    assert values(joined_as_duckdb_does(tmp_path, [STATS], repeated)["score"]) == [1.0, 2.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_precision_of_pandas_is_read(tmp_path: Path, unit: str) -> None:
    """Seconds to nanoseconds in the entity dataframe give the same values."""
    entities = rows_of("user event_timestamp", (1, "2020-07-05 16:00"), (1, "2020-07-05 15:59:59"))
    entities["event_timestamp"] = entities["event_timestamp"].dt.as_unit(unit)  # type: ignore[arg-type]
    assert values(joined_as_duckdb_does(tmp_path, [STATS], entities)["score"]) == [1.0, None]


NANOSECOND = np.timedelta64(1, "ns")
KNOWN = np.datetime64("2020-07-05T16:00:00.000000500", "ns")


def _in_nanoseconds(folder: Path, **view: Any) -> FeatureStore:
    """A store whose source has one value for each of two instants, a nanosecond apart."""
    stamps = pa.array([KNOWN, KNOWN + NANOSECOND])
    rows = pa.table({"user": [1, 1], "event_timestamp": stamps, "created": stamps, "score": [1.0, 2.0]})
    pq.write_table(rows, folder / "stats.parquet")
    return open_store(folder, [View("stats", ["user"], ["score"], rows.to_pandas(), **view)])


@pytest.mark.parametrize("created", [False, True])
def test_nanoseconds_are_compared_to_the_nanosecond(tmp_path: Path, created: bool) -> None:
    """Where both sides have them: the very instant matches, and nothing does a nanosecond before."""
    store = _in_nanoseconds(tmp_path, created=created)
    asked = KNOWN + np.arange(-1, 3) * NANOSECOND
    entities = pd.DataFrame({"user": [1] * 4, "event_timestamp": asked})
    joined = store.get_historical_features(entity_df=entities, features=REFERENCE, **created_filter(created))
    assert values(joined.to_df()["score"]) == [None, 1.0, 2.0, 2.0]


def test_a_source_in_nanoseconds_is_not_known_a_microsecond_early(tmp_path: Path) -> None:
    """An entity row in microseconds, before or after the value's nanoseconds."""
    entities = rows_of("user event_timestamp", (1, "2020-07-05 16:00"), (1, "2020-07-05 16:00:00.000001"))
    joined = _in_nanoseconds(tmp_path).get_historical_features(entity_df=entities, features=REFERENCE).to_df()
    assert values(joined["score"]) == [None, 2.0]


@pytest.mark.parametrize("of_source", ["us", "ns"])
def test_a_ttl_ends_at_its_nanosecond(tmp_path: Path, of_source: str) -> None:
    """A value exactly as old as the ttl is used; a nanosecond older it is not."""
    stamp = np.datetime64("2020-07-05T16:00:00.000001", "ns") + (NANOSECOND if of_source == "ns" else 0)
    rows = pa.table({"user": [1], "event_timestamp": pa.array([stamp]), "score": [1.0]})
    pq.write_table(rows, tmp_path / "stats.parquet")
    view = View("stats", ["user"], ["score"], rows.to_pandas(), ttl=timedelta(hours=1))
    expires = stamp + np.timedelta64(1, "h")
    entities = pd.DataFrame({"user": [1, 1], "event_timestamp": [expires, expires + NANOSECOND]})
    joined = open_store(tmp_path, [view]).get_historical_features(entity_df=entities, features=REFERENCE)
    assert values(joined.to_df()["score"]) == [1.0, None]


def test_events_of_a_range_keep_their_nanoseconds(tmp_path: Path) -> None:
    """Two events a nanosecond apart are two, each with what was known at it; the range ends before them."""
    store = _in_nanoseconds(tmp_path)
    start, end = datetime(2020, 7, 5, tzinfo=UTC), datetime(2020, 7, 6, tzinfo=UTC)
    joined = store.get_historical_features(features=REFERENCE, start_date=start, end_date=end).to_df()
    assert values(joined["score"]) == [1.0, 2.0]
    early = datetime(2020, 7, 5, 16, tzinfo=UTC)
    assert store.get_historical_features(features=REFERENCE, start_date=start, end_date=early).num_rows == 0


def test_instants_at_the_ends_of_time_are_compared(tmp_path: Path) -> None:
    """Sentinels of the years 1677, 2262 and 9999, in a source of nanoseconds and rows of microseconds."""
    ends = [pd.Timestamp.min.to_datetime64(), KNOWN, pd.Timestamp.max.to_datetime64()]
    rows = pa.table({"user": [1] * 3, "event_timestamp": pa.array(ends), "score": [1.0, 2.0, 3.0]})
    pq.write_table(rows, tmp_path / "stats.parquet")
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows.to_pandas())])
    asked = np.array(["0001-01-01", "1999-01-01", "2262-01-01", "9999-12-31"], dtype="datetime64[us]")
    entities = pa.table({"user": [1] * 4, "event_timestamp": pa.array(asked)})
    joined = store.get_historical_features(entity_df=entities, features=REFERENCE).to_arrow()
    assert joined["score"].to_pylist() == [None, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ms"),
        pa.timestamp("us"),
        pa.timestamp("s", tz="UTC"),
        pa.timestamp("us", tz="Asia/Tokyo"),
    ],
)
def test_a_source_may_have_any_zone_and_precision(tmp_path: Path, kind: pa.DataType) -> None:
    """The parquet's own type does not matter to the answer."""
    rows = pa.Table.from_pandas(STATS.rows, preserve_index=False)
    at = rows.column_names.index("event_timestamp")
    rows = rows.set_column(at, "event_timestamp", rows["event_timestamp"].cast(kind))
    pq.write_table(rows, tmp_path / "stats.parquet")
    edge = rows_of("user event_timestamp", (1, "2020-07-05 15:59:59.999999"), (1, "2020-07-05 16:00"))
    assert values(joined_as_duckdb_does(tmp_path, [STATS], edge)["score"]) == [None, 1.0]


def test_times_as_text_are_read_as_feast_reads_them(tmp_path: Path) -> None:
    """A column of ISO text in event_timestamp is an instant; without an offset it is UTC."""
    entities = pd.DataFrame(
        {"user": [1, 1], "event_timestamp": ["2020-07-05T18:00:00+02:00", "2020-07-05 15:59:59"]}
    )
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=entities, features=REFERENCE).to_df()
    assert values(joined["score"]) == [1.0, None]


MIXED = ["2020-07-05T16:00:00+08:00", "2020-07-05T16:00:00", "2020-07-05 16:00-07:00", "2020-07-05"]
MIXED_HOURS = [8, 16, 23, 0]


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_a_text_time_without_zone_is_utc_whatever_stands_before_it(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    """Text of mixed zones in the entity dataframe and in a source: no row's zone reaches another."""
    hourly = [(1, f"2020-07-05 {hour:02}:00", float(hour)) for hour in range(24)]
    source = View("stats", ["user"], ["score"], rows_of("user event_timestamp score", *hourly))
    texts = [MIXED[at] for at in order]
    entities = pd.DataFrame({"user": [1] * 4, "event_timestamp": texts})
    joined = open_store(tmp_path / "entities", [source]).get_historical_features(entities, REFERENCE)
    assert joined.to_df()["score"].tolist() == [MIXED_HOURS[at] for at in order]

    (tmp_path / "source").mkdir()
    rows = pd.DataFrame(
        {"user": [1] * 4, "event_timestamp": texts, "score": [MIXED_HOURS[at] for at in order]}
    )
    rows.to_parquet(tmp_path / "source" / "stats.parquet")
    asked = rows_of(
        "user event_timestamp", *((1, f"2020-07-05 {hour:02}:59") for hour in (0, 7, 8, 15, 16, 23))
    )
    joined = open_store(tmp_path / "source", [source]).get_historical_features(asked, REFERENCE)
    assert joined.to_df()["score"].tolist() == [0, 0, 8, 8, 16, 23]


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("keys", [["user"], []])
def test_text_times_of_mixed_zones_are_materialized_in_their_order(
    tmp_path: Path, latest: bool, keys: list[str]
) -> None:
    """The newest row is that of the latest instant, not of the last text; the others are older."""
    rows = pd.DataFrame(
        {"user": [1] * 4, "event_timestamp": MIXED, "score": [float(hour) for hour in MIXED_HOURS]}
    )
    rows[[*keys, "event_timestamp", "score"]].to_parquet(tmp_path / "stats.parquet")
    store = open_store(tmp_path, [View("stats", keys, ["score"], rows), STATS_OTHER])
    store.config.materialization_config.pull_latest_features = latest
    store.materialize(datetime(2020, 7, 5, tzinfo=UTC), datetime(2020, 7, 6, tzinfo=UTC))
    online = store.get_online_features(features=REFERENCE, entity_rows=[{"user": 1}])
    assert online.to_dict()["score"] == [23.0]


@pytest.mark.parametrize("word", ["now", "Today", "yesterday", "12:00"])
def test_a_text_that_is_no_time_is_refused(tmp_path: Path, word: str) -> None:
    """Nor is the clock of this moment taken for a time."""
    store = open_store(tmp_path, [STATS])
    entities = pd.DataFrame({"user": [1, 1], "event_timestamp": ["2020-07-05T18:00:00+02:00", word]})
    with pytest.raises(AsOfError, match="entity dataframe, column 'event_timestamp': not timestamps"):
        store.get_historical_features(entities, REFERENCE)


def test_the_only_timestamp_column_is_the_event_timestamp(tmp_path: Path) -> None:
    """Feast's rule: a column of another name will do where it is the only one."""
    entities = rows_of("user event_timestamp", (1, "2020-07-06")).rename(
        columns={"event_timestamp": "watched_at"}
    )
    assert values(joined_as_duckdb_does(tmp_path, [STATS], entities)["score"]) == [1.0]
