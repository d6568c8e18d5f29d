"""The caller's rows: every one comes back, in order, with all it carried, from whatever holds it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof_fixtures.small_feature_repo import View, joined_as_duckdb_does, open_store, rows_of, values

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of(
        "user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2020-07-05", 2.0), (2, "2020-07-07", 3.0)
    ),
)
UNORDERED = rows_of(
    "user event_timestamp label",
    (2, "2020-07-08", "newest first"),
    (1, "2020-07-06", "then another key"),
    (2, "2020-07-06", "then back in time"),
    (9, "2020-07-06", "then nobody"),
    (2, "2020-07-08", "then the first again"),
)
EXPECTED = [3.0, 1.0, 2.0, None, 3.0]


def test_duplicates_order_and_extra_columns_are_kept(tmp_path: Path) -> None:
    """Rows of one key and instant, which Feast's dask store merges into one, stay as many as they were."""
    entities = pd.concat([UNORDERED, UNORDERED], ignore_index=True)
    joined = joined_as_duckdb_does(tmp_path, [STATS], entities)
    assert values(joined["score"]) == EXPECTED * 2
    pd.testing.assert_frame_equal(joined[entities.columns.tolist()], entities)


def test_extra_columns_of_any_type_pass_through(tmp_path: Path) -> None:
    """Lists, bytes, booleans, nulls, categories and a second timestamp come back as they were."""
    extra = pa.table(
        {
            "user": [2, 1],
            "event_timestamp": UNORDERED["event_timestamp"][:2],
            "tags": [["a", "b"], None],
            "raw": [b"\x00", b""],
            "clicked": [True, None],
            "seen_at": pa.array([1, None], pa.timestamp("ms", "Asia/Tokyo")),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=extra, features=["stats:score"]).to_arrow()
    assert joined.select(extra.column_names).equals(extra)
    assert joined["score"].to_pylist() == [3.0, 1.0]


def test_the_result_has_a_fresh_index_and_the_callers_frame_is_untouched(tmp_path: Path) -> None:
    """As with Feast's stores: 0, 1, 2..., whatever index the frame had; it does not become a column."""
    entities = UNORDERED.set_index(pd.Index([7, 7, 3, 0, -1], name="their_index"))
    before = entities.copy(deep=True)
    joined = joined_as_duckdb_does(tmp_path, [STATS], entities)
    assert joined.index.equals(pd.RangeIndex(5))
    assert "their_index" not in joined.columns
    pd.testing.assert_frame_equal(entities, before)


def _as_file(table: pa.Table, folder: Path) -> str:
    pq.write_table(table, folder / "entities.parquet")
    return str(folder / "entities.parquet")


def _as_folder(table: pa.Table, folder: Path) -> str:
    (folder / "parts").mkdir()
    pq.write_table(table.slice(0, 2), folder / "parts" / "a.parquet")
    pq.write_table(table.slice(2), folder / "parts" / "b.parquet")
    return str(folder / "parts")


def _as_glob(table: pa.Table, folder: Path) -> str:
    return _as_folder(table, folder) + "/*.parquet"


def _as_path(table: pa.Table, folder: Path) -> Path:
    return Path(_as_file(table, folder))


def _as_chunks(table: pa.Table, folder: Path) -> pa.Table:
    return pa.concat_tables([table.slice(0, 2), table.slice(2)])


@pytest.mark.parametrize("given_as", [_as_file, _as_folder, _as_glob, _as_path, _as_chunks])
def test_an_arrow_table_or_parquet_is_as_good_as_a_frame(tmp_path: Path, given_as: Any) -> None:
    """A table in chunks, a file, a folder and a glob, the last two in the order of their names."""
    entities = given_as(pa.Table.from_pandas(UNORDERED, preserve_index=False), tmp_path)
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df()
    frame = store.get_historical_features(entity_df=UNORDERED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == EXPECTED
    pd.testing.assert_frame_equal(joined, frame)


def test_many_pieces_give_the_same_rows_as_one(tmp_path: Path) -> None:
    """More entity rows than one look-up takes at a time, the last of them included."""
    rows = 300_001
    users = np.arange(rows) % 3 + 1
    entities = pd.DataFrame({"user": users, "event_timestamp": pd.Timestamp("2020-07-08", tz="UTC")})
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=entities, features=["stats:score"]).to_df()
    assert joined["user"].tolist() == users.tolist()
    expected = np.array([1.0, 3.0, np.nan])[users - 1]
    np.testing.assert_array_equal(joined["score"].to_numpy(), expected)


def test_sources_may_be_files_folders_and_globs(tmp_path: Path) -> None:
    """A source written in parts is one source, and its first part alone decides nothing."""
    (tmp_path / "stats.parquet").mkdir()
    STATS.rows[:1].to_parquet(tmp_path / "stats.parquet" / "a.parquet")
    STATS.rows[1:].to_parquet(tmp_path / "stats.parquet" / "b.parquet")
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=UNORDERED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == EXPECTED
