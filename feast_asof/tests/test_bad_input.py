"""Input that cannot be joined: one clear line that names view, column and path, before any row is read.

What is wrong is said where the join is asked for; only what must be read first (a damaged row group) is said
when the job is asked for rows.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, PushSource, SnowflakeSource, ValueType
from feast.data_source import PushMode
from feast.types import Float64, Int64

from asof_fixtures.small_feature_repo import View, open_store, rows_of, values, write_parquet
from feast_asof import AsOfError
from feast_asof.shared import SharedSources
from feast_asof.views import join_view

SOURCE = rows_of("user tag event_timestamp score", (1, "a", "2020-07-05", 1.0))
STATS = View("stats", ["user"], ["score"], SOURCE.drop(columns="tag"))
TAGS = View("tags", ["tag"], ["rank"], SOURCE.drop(columns="user").rename(columns={"score": "rank"}))
GOOD = rows_of("user tag event_timestamp", (1, "a", "2020-07-06"), (2, "b", "2020-07-07"))


def _refused(folder: Path, entities: Any, *, views: tuple[View, ...] = (STATS, TAGS)) -> str:
    """The one line with which the join is refused."""
    store = open_store(folder, views, text_keys=["tag"])
    references = [f"{view.name}:{view.features[0]}" for view in views]
    with pytest.raises(AsOfError) as caught:
        store.get_historical_features(entity_df=entities, features=references)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_key_column_is_named(tmp_path: Path) -> None:
    """With the view that needs it and the columns that are there."""
    message = _refused(tmp_path, GOOD.drop(columns="tag"))
    assert message == (
        "feature view tags: key column 'tag' is not in the entity dataframe, which has user, event_timestamp."
    )


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """With its view and its path."""
    store = open_store(tmp_path, [STATS])
    (tmp_path / "stats.parquet").unlink()
    with pytest.raises(AsOfError) as caught:
        store.get_historical_features(entity_df=GOOD, features=["stats:score"])
    path = tmp_path / "stats.parquet"
    assert str(caught.value) == f"feature view stats: there is no parquet file or folder at {path}."


@pytest.mark.parametrize("column", ["user", "score", "event_timestamp", "created"])
def test_a_column_that_the_source_does_not_have_is_named(tmp_path: Path, column: str) -> None:
    """The same for key, feature, timestamp and created: the error has the columns of the parquet."""
    rows = SOURCE.assign(created=SOURCE["event_timestamp"]).drop(columns="tag")
    view = View("stats", ["user"], ["score"], rows, created=True)
    store = open_store(tmp_path, [view])
    write_parquet(rows.drop(columns=column), tmp_path / "stats.parquet")
    with pytest.raises(
        AsOfError, match=rf"feature view stats: column '{column}' is not in .*stats\.parquet, which has"
    ):
        store.get_historical_features(entity_df=GOOD, features=["stats:score"])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("user", ["1", "2"]),
        ("user", [1.0, 2.0]),
        ("user", [True, False]),
        ("tag", [1, 2]),
        ("tag", [b"a", b"b"]),
    ],
)
def test_a_key_of_another_type_than_the_sources_is_named(
    tmp_path: Path, column: str, values: list[Any]
) -> None:
    """With both types: text is not silently compared with numbers, nor rounded ones with whole ones."""
    message = _refused(tmp_path, GOOD.assign(**{column: values}))
    assert f"key column '{column}' is" in message
    assert "in the entity dataframe, but" in message
    assert f"{'stats' if column == 'user' else 'tags'}.parquet" in message


def test_a_key_of_mixed_types_is_refused(tmp_path: Path) -> None:
    """A pandas object column that holds numbers and text has no type to join on."""
    message = _refused(tmp_path, GOOD.assign(user=pd.Series([1, "2"], dtype=object)))
    assert message.startswith("entity dataframe: a column holds mixed types")
    assert "user" in message


@pytest.mark.parametrize("given_as", [pd.DataFrame, pa.Table.from_pandas])
def test_null_timestamps_are_counted_and_the_first_is_shown(
    tmp_path: Path, given_as: Callable[..., Any]
) -> None:
    """A row without a time has no answer, and is not dropped in silence."""
    entities = given_as(GOOD.assign(event_timestamp=[GOOD["event_timestamp"][0], pd.NaT]))
    message = _refused(tmp_path, entities)
    assert message == "entity dataframe, column 'event_timestamp': 1 timestamps are null, the first in row 1."


@pytest.mark.parametrize("text", [False, True])
def test_null_timestamps_of_a_source_are_counted_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bool
) -> None:
    """Such a row is never joined, nor materialized, nor an event of a range; the others are."""
    rows = rows_of("user event_timestamp score", (1, None, 2.0), (1, "2020-07-05", 1.0))
    if text:
        rows["event_timestamp"] = [None, "2020-07-05T00:00:00"]
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows)])
    joined = store.get_historical_features(entity_df=GOOD, features=["stats:score"]).to_df()
    assert values(joined["score"])[0] == 1.0
    counted = f"left out 1 of 2 rows of {tmp_path / 'stats.parquet'} whose 'event_timestamp' is null."
    assert f"feature view stats: {counted}" in caplog.messages

    start, end = datetime(2020, 7, 1, tzinfo=UTC), datetime(2020, 7, 9, tzinfo=UTC)
    events = store.get_historical_features(features=["stats:score"], start_date=start, end_date=end)
    assert values(events.to_df()["score"]) == [1.0]
    store.materialize(start, end)
    assert f"source stats_source: {counted}" in caplog.messages
    assert store.get_online_features(["stats:score"], [{"user": 1}]).to_dict()["score"] == [1.0]


def test_a_source_whose_timestamp_is_none_is_refused(tmp_path: Path) -> None:
    """A number is not taken for seconds, milliseconds or days."""
    rows = SOURCE.drop(columns="tag").assign(event_timestamp=1_593_907_200)
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows)])
    job = store.get_historical_features(entity_df=GOOD, features=["stats:score"])
    with pytest.raises(
        AsOfError, match=r"column 'event_timestamp' of .*stats\.parquet: has type int64, not a timestamp"
    ):
        job.to_df()


def test_missing_parquet_of_entities_is_named(tmp_path: Path) -> None:
    """File, folder and glob, by their paths."""
    (tmp_path / "nothing").mkdir()
    (tmp_path / "text.parquet").write_text("not parquet")
    assert "there is no parquet file or folder at" in _refused(tmp_path, str(tmp_path / "absent.parquet"))
    assert "no parquet file matches" in _refused(tmp_path, str(tmp_path / "absent" / "*.parquet"))
    assert "holds no parquet file" in _refused(tmp_path, tmp_path / "nothing")
    assert "text.parquet cannot be read as parquet" in _refused(tmp_path, tmp_path / "text.parquet")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO stats VALUES (1)",
        "selct *\nfrom stats",
        "DELETE FROM stats",
        "-- nothing",
        "show tables;",
    ],
)
def test_sql_that_is_no_query_is_no_missing_path(tmp_path: Path, text: str) -> None:
    """It is said to be neither; a path with a space stays a path."""
    said = _refused(tmp_path, text)
    assert "is neither a path to parquet nor a query" in said and " ".join(text.split()) in said
    assert "there is no parquet file or folder at" in _refused(tmp_path, f"{tmp_path}/my events.parquet")
    assert "there is no parquet file or folder at" in _refused(tmp_path, "my events.parquet")


def test_other_things_are_refused(tmp_path: Path) -> None:
    """A list is no frame."""
    assert _refused(tmp_path, [1, 2]) == (
        "entity dataframe: is a list; give a table of pandas, Polars or Arrow, a path to parquet, or SQL."
    )


def test_an_entity_dataframe_without_a_time_is_refused(tmp_path: Path) -> None:
    """No timestamp column, or several and none of them called event_timestamp."""
    assert "needs a column 'event_timestamp'" in _refused(tmp_path, GOOD.drop(columns="event_timestamp"))
    two = GOOD.rename(columns={"event_timestamp": "seen"}).assign(bought=GOOD["event_timestamp"])
    assert "needs a column 'event_timestamp'" in _refused(tmp_path, two)
    number = GOOD.assign(event_timestamp=[1, 2])
    assert "column 'event_timestamp': has type int64, not a timestamp" in _refused(tmp_path, number)
    text = GOOD.assign(event_timestamp=["yesterday", "today"])
    assert "column 'event_timestamp': not timestamps" in _refused(tmp_path, text)


def test_a_column_that_a_feature_would_hide_is_named(tmp_path: Path) -> None:
    """The caller's own column is neither lost nor doubled."""
    message = _refused(tmp_path, GOOD.assign(score=0.0))
    assert message == (
        "feature view stats: the entity dataframe has a column 'score' already; "
        "rename it, or ask for full_feature_names."
    )


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which of two columns `user` is meant cannot be known."""
    table = pa.Table.from_pandas(GOOD, preserve_index=False).append_column("user", pa.array([3, 4]))
    expected = "entity dataframe: has more than one column of the name user."
    assert _refused(tmp_path, table) == expected
    assert _refused(tmp_path, pd.concat([GOOD, GOOD[["user"]]], axis=1)) == expected


def _view(source: FileSource | PushSource | SnowflakeSource) -> tuple[Entity, FeatureView]:
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    fields = [Field(name="user", dtype=Int64), Field(name="score", dtype=Float64)]
    return user, FeatureView(name="stats", entities=[user], schema=fields, ttl=timedelta(), source=source)


def test_a_source_of_another_kind_is_refused(tmp_path: Path) -> None:
    """This store reads files and tables of files; a warehouse is named."""
    source = SnowflakeSource(
        name="far", database="d", schema="s", table="t", timestamp_field="event_timestamp"
    )
    store = open_store(tmp_path, [])
    _, view = _view(source)
    with pytest.raises(AsOfError, match=r"view stats: its batch source is .*; this store reads FileSource"):
        join_view(SharedSources(store.config), view, [], full_feature_names=False, filter_by_created=False)


def test_a_push_source_is_read_by_its_batch_source(tmp_path: Path) -> None:
    """Views that are pushed to have history too."""
    path = write_parquet(STATS.rows, tmp_path / "pushed.parquet")
    batch = FileSource(name="rows", path=str(path), timestamp_field="event_timestamp")
    store = open_store(tmp_path, [])
    store.apply(list(_view(PushSource(name="pushed", batch_source=batch))))
    joined = store.get_historical_features(entity_df=GOOD, features=["stats:score"]).to_df()
    assert joined["score"][0] == 1.0
    store.push("pushed", rows_of("user event_timestamp score", (2, "2020-07-06", 5.0)), to=PushMode.OFFLINE)
    joined = store.get_historical_features(entity_df=GOOD, features=["stats:score"]).to_df()
    assert joined["score"].tolist() == [1.0, 5.0]


def test_damaged_parquet_is_named_when_its_rows_are_read(tmp_path: Path) -> None:
    """A file whose footer is whole and whose rows are not."""
    rows = pd.concat([STATS.rows] * 5000, ignore_index=True)
    rows["score"] = range(len(rows))
    rows["score"] = rows["score"].astype(float)
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], rows)])
    path = tmp_path / "stats.parquet"
    whole = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(2).data_page_offset
    whole[start : start + 64] = b"\xff" * 64
    path.write_bytes(bytes(whole))
    job = store.get_historical_features(entity_df=GOOD, features=["stats:score"])
    with pytest.raises(AsOfError, match=r"feature view stats: .*stats\.parquet cannot be read"):
        job.to_df()
