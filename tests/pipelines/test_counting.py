"""Positions by code are those of a stable sort."""

import numpy as np

from pipelines.retrieval.counting import positions_by


def test_positions_are_those_of_a_stable_sort() -> None:
    codes = np.random.default_rng(1).integers(0, 9, 500).astype(np.int32)
    order, starts = positions_by(codes, 12)
    np.testing.assert_array_equal(order, np.argsort(codes, kind="stable"))
    np.testing.assert_array_equal(np.diff(starts), np.bincount(codes, minlength=12))
    nothing, from_where = positions_by(codes[:0], 3)
    assert not len(nothing)
    assert from_where.tolist() == [0, 0, 0, 0]
