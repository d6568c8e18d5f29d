"""Sources in folders: parts, `key=value` folders, and the files that writers keep for themselves."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asof_fixtures.small_feature_repo import View, open_store, rows_of, values
from feast_asof import AsOfError

STATS = View(
    "stats",
    ["user"],
    ["score"],
    rows_of("user event_timestamp score", (1, "2020-07-05", 1.0), (2, "2020-07-06", 2.0)),
)
ASKED = rows_of("user event_timestamp", (2, "2020-07-07"), (1, "2020-07-07"))


def test_the_key_may_be_the_name_of_a_folder(tmp_path: Path) -> None:
    """Hive partitions, as Spark, dask and pandas write them, are columns of the source."""
    table = pa.Table.from_pandas(STATS.rows, preserve_index=False)
    pq.write_to_dataset(table, tmp_path / "stats.parquet", partition_cols=["user"])
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [2.0, 1.0]


def test_what_a_writer_left_beside_the_data_is_not_data(tmp_path: Path) -> None:
    """Markers, and files being written by this store itself, are passed over."""
    folder = tmp_path / "stats.parquet"
    folder.mkdir()
    STATS.rows.to_parquet(folder / "a.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".b.parquet.0123.partial").write_text("half a file")
    store = open_store(tmp_path, [STATS])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [2.0, 1.0]


def test_equals_signs_above_the_source_mean_nothing(tmp_path: Path) -> None:
    """A file below a folder named `user=9` still has its own users."""
    store = open_store(tmp_path / "user=9", [STATS])
    joined = store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
    assert values(joined["score"]) == [2.0, 1.0]


def test_parts_that_do_not_fit_each_other_are_an_error(tmp_path: Path) -> None:
    """Two files of one source whose key has two types give one clear error, not a wrong answer."""
    folder = tmp_path / "stats.parquet"
    folder.mkdir()
    STATS.rows.to_parquet(folder / "a.parquet")
    STATS.rows.assign(user=["x", "y"]).to_parquet(folder / "b.parquet")
    store = open_store(tmp_path, [STATS])
    with pytest.raises(AsOfError, match=r"feature view stats: .*stats\.parquet cannot be read"):
        store.get_historical_features(entity_df=ASKED, features=["stats:score"]).to_df()
