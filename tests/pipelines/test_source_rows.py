"""A source that goes on: earlier rows are copied as bytes, and readers find them beside the new ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from nightreel.core import columns
from pipelines.features import source_rows
from pipelines.features.source_rows import write_rows_from

START = datetime(2020, 7, 5, tzinfo=UTC)
TYPES = pl.Schema(
    {
        columns.USER_ID: pl.Int64(),
        columns.EVENT_TIMESTAMP: pl.Datetime("us", "UTC"),
        "shares": pl.List(pl.Float32),
    }
)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """Paths of a file of each night."""
    return (tmp_path / f"{night}.parquet" for night in count())


def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "_ROWS_OF_GROUP", 50)


def _day(day: int) -> datetime:
    return START + timedelta(days=day)


def _rows(day: int, rows: int) -> pl.DataFrame:
    random = np.random.default_rng(day)
    shares = [[float(share)] * (at % 3) for at, share in enumerate(random.random(rows))]
    return pl.DataFrame(
        {columns.USER_ID: random.integers(0, 99, rows), columns.EVENT_TIMESTAMP: _day(day), "shares": shares},
        schema=TYPES,
    )


def _written(files: Iterator[Path], days: range, rows: int = 40) -> tuple[Path, pl.DataFrame]:
    """The file after so many nights, each of which goes on from the one before, and its rows."""
    path, expected = next(files), _rows(days[0], rows)
    write_rows_from(path, None, [expected], path)
    for day in days[1:]:
        before, path, new = path, next(files), _rows(day, rows)
        expected = pl.concat([expected, new])
        assert write_rows_from(before, _day(day), [new], path) == expected.height
    return path, expected


def test_every_reader_finds_the_rows_of_all_nights(
    files: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_groups(monkeypatch)
    path, expected = _written(files, range(12))
    assert pl.read_parquet(path).equals(expected)
    assert pl.DataFrame(pq.read_table(path)).equals(expected)
    assert pl.DataFrame(duckdb.read_parquet(str(path)).to_arrow_table()).cast(TYPES).equals(expected)
    some = pl.col(columns.EVENT_TIMESTAMP) == _day(7)
    assert pl.scan_parquet(path).filter(some).collect().equals(expected.filter(some))


def test_earlier_rows_are_the_bytes_of_the_file_before(
    files: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_groups(monkeypatch)
    before, expected = _written(files, range(8))
    path = next(files)
    write_rows_from(before, _day(8), [_rows(8, 3)], path)
    same = before.read_bytes()
    assert path.read_bytes()[: len(same)] == same
    assert pl.read_parquet(path).equals(pl.concat([expected, _rows(8, 3)]))


@pytest.mark.parametrize("first", range(13))
def test_rows_are_replaced_from_any_earlier_day_on(
    files: Iterator[Path], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    _small_groups(monkeypatch)
    before, expected = _written(files, range(12))
    path, new = next(files), _rows(99, 5)
    write_rows_from(before, _day(first), [new], path)
    kept = expected.filter(pl.col(columns.EVENT_TIMESTAMP) < _day(first))
    assert pl.read_parquet(path).equals(pl.concat([kept, new]))


def test_row_groups_of_small_nights_are_joined(
    files: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_groups(monkeypatch)
    path, expected = _written(files, range(40), rows=4)
    metadata = pq.read_metadata(path)
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert all(group >= 50 for group in rows[:-1])
    assert sum(rows) == expected.height


def test_a_file_of_an_earlier_version_is_gone_on_from(files: Iterator[Path]) -> None:
    before, path, earlier = next(files), next(files), pl.concat([_rows(0, 30), _rows(1, 30)])
    earlier.write_parquet(before, row_group_size=30)
    write_rows_from(before, _day(1), [_rows(2, 5)], path)
    assert pl.read_parquet(path).equals(pl.concat([_rows(0, 30), _rows(2, 5)]))


def test_without_a_row_there_is_a_file_of_the_columns(files: Iterator[Path]) -> None:
    before, path = next(files), next(files)
    assert write_rows_from(before, None, [_rows(0, 0)], before) == 0
    assert write_rows_from(before, _day(1), [_rows(1, 0)], path) == 0
    assert pl.read_parquet(path).equals(_rows(0, 0))
    assert write_rows_from(path, _day(1), [_rows(1, 2)], before) == 2
    assert pl.read_parquet(before).equals(_rows(1, 2))
