"""Feature values become numbers in one way, decided in training."""

import numpy as np
import pyarrow as pa
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.rankers import FeatureEncoding

DEGREE = columns.USER_CATEGORICALS[0]
NAMES = (DEGREE, columns.ONEHOT_FEATURES[3], columns.VIDEO_DURATION)
SEEN = {
    DEGREE: pa.array(["high", "UNKNOWN", None, "high"]),
    columns.ONEHOT_FEATURES[3]: pa.array([1075, 3, None], pa.int32()),
}
ENCODING = FeatureEncoding.fit(NAMES, SEEN)


def _table(**changes: pa.Array) -> pa.Table:
    values = {
        DEGREE: pa.array(["UNKNOWN", "high", "never seen", None]),
        columns.ONEHOT_FEATURES[3]: pa.array([3, 1075, 4, None], pa.int32()),
        columns.VIDEO_DURATION: pa.array([7434, None, 0, 2**31 - 1], pa.int32()),
    }
    return pa.table(values | changes)


def test_codes_are_dense_nulls_and_unseen_categories_are_missing_and_numbers_stay() -> None:
    matrix = ENCODING.encode(_table(), NAMES)
    assert matrix.dtype == np.float32
    expected = [[0, 0, 7434], [1, 1, np.nan], [np.nan, np.nan, 0], [np.nan, np.nan, 2**31]]
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=np.float32))


def test_only_the_wanted_columns_in_the_wanted_order() -> None:
    wanted = (columns.VIDEO_DURATION, DEGREE)
    np.testing.assert_array_equal(
        ENCODING.encode(_table(), wanted), ENCODING.encode(_table(), NAMES)[:, [2, 0]]
    )


def test_dictionary_and_chunked_columns_and_no_rows_at_all() -> None:
    table = _table()
    twice = pa.concat_tables([table, table])
    as_dictionary = twice.set_column(0, DEGREE, twice.column(DEGREE).dictionary_encode())
    np.testing.assert_array_equal(
        ENCODING.encode(as_dictionary, NAMES), np.tile(ENCODING.encode(table, NAMES), (2, 1))
    )
    assert ENCODING.encode(table.slice(0, 0), NAMES).shape == (0, 3)


def test_a_category_never_seen_in_training_at_all() -> None:
    nothing = FeatureEncoding.fit((DEGREE,), {DEGREE: pa.array([None, None], pa.string())})
    assert np.isnan(nothing.encode(_table(), (DEGREE,))).all()


def test_codes_do_not_depend_on_the_order_of_the_values() -> None:
    turned = {name: values.take(pa.array(range(len(values) - 1, -1, -1))) for name, values in SEEN.items()}
    assert FeatureEncoding.fit(NAMES, turned) == ENCODING


def test_json_keeps_everything() -> None:
    assert FeatureEncoding.from_json(ENCODING.to_json()) == ENCODING


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES[:2], f"missing: {columns.VIDEO_DURATION}"),
        ((*NAMES, "novelty"), "unknown to the model: novelty"),
        ((NAMES[1], NAMES[0], NAMES[2]), f"order: feature 1 is {NAMES[1]}, the model has {NAMES[0]}"),
    ],
)
def test_other_features_are_refused_by_name(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ENCODING.require(names)


def test_the_same_features_pass() -> None:
    ENCODING.require(list(NAMES))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match=columns.VIDEO_DURATION):
        ENCODING.encode(_table().drop([columns.VIDEO_DURATION]), NAMES)
