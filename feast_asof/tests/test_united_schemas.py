"""Folders whose files differ: the union of their columns, in types that hold the values of all."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof_fixtures.small_feature_repo import View, open_store, rows_of, values
from feast_asof import AsOfError, AsOfOfflineStore
from feast_asof.schemas import common_type

EARLY = rows_of("user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2020-07-05", 2.0))
LATE = rows_of("user event_timestamp score later", (1, "2020-07-07", 3.0, 7.0))
ASKED = rows_of(
    "user event_timestamp", (1, "2020-07-06"), (1, "2020-07-08"), (2, "2020-07-08"), (3, "2020-07-08")
)
STATS = View("stats", ["user"], ["score", "later"], LATE)


def _folder(folder: Path, *parts: pa.Table | pd.DataFrame) -> None:
    """The parts as files of the source of `stats`, in the order of their names."""
    (folder / "stats.parquet").mkdir(parents=True)
    for number, part in enumerate(parts):
        table = part if isinstance(part, pa.Table) else pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(table, folder / "stats.parquet" / f"{number}.parquet")


def _joined(folder: Path, view: View = STATS, asked: pd.DataFrame = ASKED) -> pd.DataFrame:
    store = open_store(folder, [view])
    references = [f"stats:{feature}" for feature in view.features]
    return store.get_historical_features(entity_df=asked, features=references).to_df()


@pytest.mark.parametrize("parts", [(EARLY, LATE), (LATE, EARLY)], ids=["added", "first"])
def test_a_column_that_was_added_later_is_null_before(
    tmp_path: Path, parts: tuple[pd.DataFrame, ...]
) -> None:
    """Whichever file comes first by its name."""
    _folder(tmp_path, *parts)
    joined = _joined(tmp_path)
    assert values(joined["score"]) == [1.0, 3.0, 2.0, None]
    assert values(joined["later"]) == [None, 7.0, None, None]


def test_globs_and_entity_rows_are_united_too(tmp_path: Path) -> None:
    """A pattern is as good as a folder; entity rows keep the columns that only some of their files have."""
    _folder(tmp_path, EARLY, LATE)
    store = open_store(tmp_path, [STATS])
    view = store.get_feature_view("stats")
    view.batch_source.file_options.uri = str(tmp_path / "stats.parquet" / "*.parquet")
    store.apply([view])
    asked = tmp_path / "asked"
    asked.mkdir()
    ASKED[:2].to_parquet(asked / "a.parquet")
    ASKED[2:].assign(label=["x", "y"]).to_parquet(asked / "b.parquet")
    joined = store.get_historical_features(entity_df=asked, features=["stats:later"]).to_df()
    assert values(joined["later"]) == [None, 7.0, None, None]
    assert values(joined["label"]) == [None, None, "x", "y"]


def _table(user: pa.Array, score: pa.Array, day: int) -> pa.Table:
    times = pa.array([f"2020-07-0{day}"] * len(user)).cast(pa.timestamp("us"))
    return pa.table({"user": user, "event_timestamp": times, "score": score})


@pytest.mark.parametrize("narrow_first", [True, False])
@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (pa.array([2], pa.int32()), pa.array([2**40], pa.int64())),
        (pa.array([2], pa.uint32()), pa.array([-1], pa.int32())),
        (pa.array([2], pa.int64()), pa.array([3], pa.uint64())),
        (pa.array([0.5], pa.float32()), pa.array([0.1], pa.float64())),
        (pa.array([2], pa.int64()), pa.array([0.5], pa.float64())),
        (pa.nulls(1), pa.array([0.5], pa.float64())),
    ],
    ids=lambda column: str(column.type) if isinstance(column, pa.Array) else None,
)
def test_types_that_one_type_holds_are_promoted(
    tmp_path: Path, narrow: pa.Array, wide: pa.Array, narrow_first: bool
) -> None:
    """No value changes, whichever file comes first."""
    parts = [_table(pa.array([1], pa.int32()), narrow, 5), _table(pa.array([2], pa.int64()), wide, 5)]
    _folder(tmp_path, *(parts if narrow_first else parts[::-1]))
    asked = rows_of("user event_timestamp", (1, "2020-07-06"), (2, "2020-07-06"))
    joined = _joined(tmp_path, View("stats", ["user"], ["score"], EARLY), asked)
    assert values(joined["score"]) == [*narrow.to_pylist(), *wide.to_pylist()]


def test_times_with_and_without_a_zone_and_of_any_unit_are_united(tmp_path: Path) -> None:
    """A time without a zone is UTC; dates begin at midnight."""
    times = [
        pa.array([1_593_907_200_000_000], pa.timestamp("us")),
        pa.array([1_593_993_600_000], pa.timestamp("ms", "Asia/Tokyo")),
        pa.array([18_450], pa.date32()),
    ]
    _folder(
        tmp_path,
        *(
            pa.table({"user": [1], "event_timestamp": time, "score": [float(number)]})
            for number, time in enumerate(times)
        ),
    )
    asked = rows_of("user event_timestamp", *((1, f"2020-07-0{day}") for day in (5, 6, 7, 8)))
    joined = _joined(tmp_path, View("stats", ["user"], ["score"], EARLY), asked)
    assert values(joined["score"]) == [0.0, 1.0, 2.0, 2.0]


def test_a_whole_number_that_no_float_holds_is_an_error(tmp_path: Path) -> None:
    """Not rounded in silence."""
    _folder(
        tmp_path,
        _table(pa.array([1]), pa.array([2**53 + 1]), 5),
        _table(pa.array([1]), pa.array([0.5]), 6),
    )
    with pytest.raises(AsOfError, match=r"feature view stats: .*stats\.parquet cannot be read"):
        _joined(tmp_path, View("stats", ["user"], ["score"], EARLY))


def test_types_that_do_not_fit_are_named_with_their_files(tmp_path: Path) -> None:
    """One line, before a row is read; a column that nobody asks for stops nobody."""
    texts = _table(pa.array([2]), pa.array(["high"]), 5)
    _folder(tmp_path, EARLY.assign(other=1), texts.append_column("other", pa.array(["x"])))
    store = open_store(tmp_path, [View("stats", ["user"], ["score"], EARLY)])
    folder = tmp_path / "stats.parquet"
    with pytest.raises(AsOfError) as caught:
        store.get_historical_features(entity_df=ASKED, features=["stats:score"])
    assert str(caught.value) == (
        f"feature view stats: {folder} cannot be read: column 'score' is double in {folder / '0.parquet'}, "
        f"but string in {folder / '1.parquet'}; write one of the files again."
    )
    store.apply([], objects_to_delete=[store.get_feature_view("stats")], partial=False)
    EARLY.assign(other=1).to_parquet(folder / "1.parquet")
    EARLY.assign(other="x").to_parquet(folder / "0.parquet")
    joined = _joined(tmp_path, View("stats", ["user"], ["score"], EARLY))
    assert values(joined["score"]) == [1.0, 1.0, 2.0, None]
    with pytest.raises(AsOfError, match="column 'other' is string in"):
        AsOfOfflineStore.pull_all_from_table_or_query(
            store.config, open_store(tmp_path, [STATS]).get_feature_view("stats").batch_source,
            [], [], "event_timestamp",
        )  # fmt: skip


def test_a_key_that_is_both_a_folder_and_a_column_has_the_files_type(tmp_path: Path) -> None:
    """As Polars and DuckDB write partitions: before, an error of Arrow's about int64 and int32."""
    for user in (1, 5_000_000_000):
        folder = tmp_path / "stats.parquet" / f"user={user}"
        folder.mkdir(parents=True)
        EARLY[:1].assign(user=user, score=float(user)).to_parquet(folder / "part.parquet")
    asked = rows_of("user event_timestamp", (5_000_000_000, "2020-07-06"), (1, "2020-07-06"))
    view = View("stats", ["user"], ["score"], EARLY)
    assert values(_joined(tmp_path, view, asked)["score"]) == [5e9, 1.0]


def test_folders_of_whole_numbers_of_64_bits_are_whole_numbers(tmp_path: Path) -> None:
    """To Arrow alone they are text, once one of them has more than 32 bits."""
    table = pa.Table.from_pandas(EARLY.assign(user=[1, 5_000_000_000]), preserve_index=False)
    pq.write_to_dataset(table, tmp_path / "stats.parquet", partition_cols=["user"])
    asked = rows_of("user event_timestamp", (5_000_000_000, "2020-07-06"), (1, "2020-07-06"))
    view = View("stats", ["user"], ["score"], EARLY)
    assert values(_joined(tmp_path, view, asked)["score"]) == [2.0, 1.0]


def test_rows_are_added_to_a_folder_whose_files_differ(tmp_path: Path) -> None:
    """They have all columns of the folder."""
    _folder(tmp_path, LATE, EARLY)
    store = open_store(tmp_path, [STATS])
    store.write_to_offline_store("stats", LATE.assign(user=3))
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:later"]).to_df()
    assert values(joined["later"]) == [None, 7.0, None, 7.0]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (pa.int8(), pa.uint8(), pa.int16()),
        (pa.int64(), pa.uint8(), pa.int64()),
        (pa.decimal128(5, 1), pa.decimal128(7, 4), pa.decimal128(8, 4)),
        (pa.decimal128(38, 10), pa.int64(), pa.decimal128(38, 10)),
        (pa.decimal128(38, 30), pa.int64(), pa.decimal256(50, 30)),
        (pa.decimal128(9, 2), pa.uint64(), pa.decimal128(22, 2)),
        (pa.string(), pa.string_view(), pa.large_string()),
        (pa.dictionary(pa.int32(), pa.string()), pa.string(), pa.string()),
        (pa.list_(pa.int32()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
        (pa.bool_(), pa.int64(), None),
        (pa.string(), pa.int64(), None),
        (pa.string(), pa.timestamp("us"), None),
        (pa.float64(), pa.decimal128(5, 1), None),
        (pa.list_(pa.int32()), pa.int32(), None),
        (pa.time32("s"), pa.timestamp("s"), None),
    ],
    ids=str,
)
def test_the_common_type_holds_both_whichever_comes_first(one: Any, other: Any, common: Any) -> None:
    """Or there is none."""
    assert common_type(one, other) == common
    assert common_type(other, one) == common


def test_decimals_of_two_precisions_keep_every_digit(tmp_path: Path) -> None:
    """In the result as in the files."""
    _folder(
        tmp_path,
        _table(pa.array([1]), pa.array([Decimal("1.5")], pa.decimal128(5, 1)), 5),
        _table(pa.array([2]), pa.array([Decimal("2.0625")], pa.decimal128(9, 4)), 5),
    )
    asked = rows_of("user event_timestamp", (1, "2020-07-06"), (2, "2020-07-06"))
    joined = _joined(tmp_path, View("stats", ["user"], ["score"], EARLY), asked)
    assert values(joined["score"]) == [Decimal("1.5"), Decimal("2.0625")]
