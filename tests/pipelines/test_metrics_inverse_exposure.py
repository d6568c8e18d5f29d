"""Metrics weighted by inverse exposure: worked out by hand, and plain where all weights are equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.metrics import (
    RankedLists,
    average_precision_at_k,
    exposure_weights,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    weighted_average_precision_at_k,
    weighted_hit_rate_at_k,
    weighted_ndcg_at_k,
    weighted_precision_at_k,
    weighted_recall_at_k,
)

PAIRS = (
    (recall_at_k, weighted_recall_at_k),
    (precision_at_k, weighted_precision_at_k),
    (hit_rate_at_k, weighted_hit_rate_at_k),
    (ndcg_at_k, weighted_ndcg_at_k),
    (average_precision_at_k, weighted_average_precision_at_k),
)


def _lists(weights: list[float], ranks: list[int | None], depth: int = 10) -> RankedLists:
    """One user, whose relevant videos have these weights and these ranks, from 1."""
    found = sorted(
        (rank - 1, weight) for rank, weight in zip(ranks, weights, strict=True) if rank is not None
    )
    hits = (
        np.zeros(len(found), dtype=np.int64),
        np.array([rank for rank, _ in found], dtype=np.int64),
        np.array([weight for _, weight in found]),
    )
    relevant = (np.zeros(len(weights), dtype=np.int64), np.array(weights))
    return RankedLists.of_hits(np.array([7]), relevant, hits, depth)


def test_weights_are_the_inverse_of_exposure_and_clipped() -> None:
    np.testing.assert_allclose(exposure_weights(np.array([1000.0, 500.0, 10.0, 1.0])), [1, 2, 100, 100])


def test_by_hand() -> None:
    """Relevant: weight 1 at rank 1, weight 4 at rank 3, weight 5 in no list."""
    lists = _lists([1.0, 4.0, 5.0], [1, 3, None])
    assert weighted_recall_at_k(lists, 1)[0] == pytest.approx(1 / 10)
    assert weighted_recall_at_k(lists, 3)[0] == pytest.approx(5 / 10)
    assert weighted_precision_at_k(lists, 2)[0] == pytest.approx(1 / 9 * 2 / 2)
    assert weighted_precision_at_k(lists, 5)[0] == pytest.approx(5 / 10 * 3 / 5)
    assert weighted_hit_rate_at_k(lists, 3)[0] == pytest.approx(4 / 5)
    dcg, best = 1 + 4 / np.log2(4), 5 + 4 / np.log2(3) + 1 / np.log2(4)
    assert weighted_ndcg_at_k(lists, 3)[0] == pytest.approx(dcg / best)
    assert weighted_average_precision_at_k(lists, 3)[0] == pytest.approx((1 * 1 + 4 * 2 / 3) / 10)


def test_lists_that_hold_nothing_relevant_are_worth_nothing() -> None:
    for plain, weighted in PAIRS:
        lists = _lists([1.0, 4.0], [None, None])
        assert plain(lists, 5)[0] == 0 == weighted(lists, 5)[0]


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 10)), min_size=1, max_size=12).filter(
        lambda ranks: len({r for r in ranks if r}) == sum(r is not None for r in ranks)
    ),
    st.integers(1, 10),
    st.floats(0.1, 50),
)
def test_with_equal_weights_each_is_the_plain_metric(ranks: list[int | None], k: int, weight: float) -> None:
    lists = _lists([weight] * len(ranks), ranks)
    for plain, weighted in PAIRS:
        assert weighted(lists, k)[0] == pytest.approx(plain(lists, k)[0])


@given(st.lists(st.tuples(st.floats(1, 100), st.booleans()), min_size=1, max_size=10), st.integers(1, 10))
def test_none_leaves_the_range_from_0_to_1(videos: list[tuple[float, bool]], k: int) -> None:
    ranks = [n if listed else None for n, (_, listed) in enumerate(videos, start=1)]
    lists = _lists([weight for weight, _ in videos], ranks)
    for _, weighted in PAIRS:
        assert 0 <= weighted(lists, k)[0] <= 1 + 1e-12
