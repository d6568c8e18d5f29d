"""Columns gathered by position, and files whose columns are read one after the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from asof_fixtures.small_feature_repo import View, open_store, references_to, rows_of
from feast_asof.gathering import BLOCK_ROWS, Gathering
from feast_asof.memory import MAPPED_BYTES
from feast_asof.reading import OpenFile
from feast_asof.threads import shares

ROWS = MAPPED_BYTES // 4 + BLOCK_ROWS // 2


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("nulls", [False, True])
def test_large_columns_hold_the_values_at_the_positions(kind: type[Any], nulls: bool) -> None:
    """Of more than a block, in mapped memory or not, from the middle of an array, with nulls or without."""
    random = np.random.default_rng(5)
    source = random.integers(1, 100, 1_000).astype(kind)
    positions = random.integers(-1 if nulls else 0, 900, ROWS).astype(np.int32)
    [column] = Gathering(positions).of([pa.array(source).slice(100)])
    column.validate(full=True)
    assert column.null_count == np.count_nonzero(positions < 0)
    assert np.array_equal(column.is_null().to_numpy(zero_copy_only=False), positions < 0)
    hidden = np.frombuffer(column.buffers()[1], kind, ROWS)
    assert np.array_equal(hidden, np.where(positions < 0, 0, source[100 + positions]))


def test_a_file_that_is_held_open_keeps_its_rows(tmp_path: Path) -> None:
    """Another file takes its path between two columns: both columns are of the first, over all row groups."""
    path = tmp_path / "values.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [4, 5, 6]}), path, row_group_size=2)
    file = OpenFile.of(ds.dataset(path), ["a", "b"])
    assert file is not None
    assert file.read(["a"])["a"].to_pylist() == [1, 2, 3]
    pq.write_table(pa.table({"a": [7], "b": [8]}), tmp_path / "other.parquet")
    (tmp_path / "other.parquet").replace(path)
    [column] = file.read(["b"]).columns
    assert column.num_chunks == 1
    assert column.to_pylist() == [4, 5, 6]


def test_only_one_local_file_with_the_same_types_is_read_by_columns(tmp_path: Path) -> None:
    """A folder of two files, and a type that the dataset widens, are read as a dataset."""
    for name in ("one", "two"):
        pq.write_table(pa.table({"a": pa.array([1], pa.int32())}), tmp_path / f"{name}.parquet")
    wider = pa.schema({"a": pa.int64()})
    assert OpenFile.of(ds.dataset(tmp_path), ["a"]) is None
    assert OpenFile.of(ds.dataset(tmp_path / "one.parquet", schema=wider), ["a"]) is None
    assert OpenFile.of(ds.dataset(tmp_path / "one.parquet"), ["a"]) is not None


def test_a_source_of_several_row_groups_joins_as_one_of_several_files(tmp_path: Path) -> None:
    """More features than threads have shares, and rows of every group."""
    names = [f"f{number}" for number in range(40)]
    rows = rows_of("user event_timestamp", *((user, "2026-01-01") for user in range(50)))
    for position, name in enumerate(names):
        rows[name] = rows["user"] * 100.0 + position
    view = View("stats", ["user"], names, rows)
    pq.write_table(
        pa.Table.from_pandas(rows, preserve_index=False), tmp_path / "stats.parquet", row_group_size=7
    )
    asked = rows_of("user event_timestamp", *((user, "2026-01-02") for user in (49, 0, 7, 50, 6)))
    store = open_store(tmp_path, [view])
    joined = store.get_historical_features(entity_df=asked, features=references_to([view])).to_arrow()
    for position, name in enumerate(names):
        assert joined[name].to_pylist() == [4900 + position, position, 700 + position, None, 600 + position]


@pytest.mark.parametrize(("items", "sizes"), [(0, []), (1, [1]), (5, [1, 2, 2]), (9, [3, 3, 3])])
def test_shares_differ_by_one_at_most(items: int, sizes: list[int]) -> None:
    """All items, in order, in no more shares than asked for."""
    given = list(range(items))
    assert [len(share) for share in shares(given, 3)] == sizes
    assert [item for share in shares(given, 3) for item in share] == given
