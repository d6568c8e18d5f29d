"""What lists are like, worked out by hand and one user at a time; and how far predictions are off."""

import numpy as np
import pytest

from benchmarks.as_published import own_list_ndcg_at_k
from pipelines.metrics import (
    Bootstrap,
    Order,
    Outcome,
    RankedLists,
    ascending_ranks,
    auc_of_users,
    brier_score,
    category_diversity,
    coverage,
    exposures,
    gini,
    grouped_auc,
    mean_absolute_error,
    means_of_first,
    ndcg_at_k,
    reliability,
    repeats,
    root_mean_square_error,
)

# Two users of four videos: the second has two only.
FIRST = np.array([[0, 1, 2], [3, 0, -1]])
LENGTHS = (1, 2, 3)


def test_mean_of_a_property_up_to_each_place_skips_what_is_unknown() -> None:
    property_of = np.array([1.0, 3.0, np.nan, np.nan])
    np.testing.assert_allclose(
        means_of_first(FIRST, property_of, LENGTHS), [[1.0, 2.0, 2.0], [np.nan, 1.0, 1.0]]
    )


def test_diversity_counts_pairs_of_different_categories() -> None:
    """User 1: categories a, a, b: no pair, none of one, two of three; user 2: c, a, none."""
    category = np.array([0, 0, 1, 2])
    expected = [[np.nan, 0.0, 2 / 3], [np.nan, 1.0, 1.0]]
    np.testing.assert_allclose(category_diversity(FIRST, category, LENGTHS), expected)


def test_diversity_is_that_of_counting_every_pair() -> None:
    random = np.random.default_rng(2)
    category = random.integers(0, 5, 30)
    first = np.array([random.permutation(30)[:12] for _ in range(7)])
    for k in (2, 5, 12):
        for user, found in zip(first, category_diversity(first, category, [k])[:, 0], strict=True):
            codes = category[user[:k]]
            different = [codes[i] != codes[j] for i in range(k) for j in range(i)]
            assert found == pytest.approx(np.mean(different))


def test_coverage_and_gini_of_four_videos() -> None:
    exposure = exposures(FIRST, 4, 2)
    assert exposure.tolist() == [2, 1, 0, 1]
    assert coverage(exposure) == 0.75
    assert gini(exposure) == pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4))
    assert gini(np.array([5, 5, 5])) == 0.0
    assert gini(np.array([0, 0, 0])) == 0.0
    assert gini(np.append(np.zeros(999), 7)) == pytest.approx(0.999)


def test_repeats_are_counted_a_user() -> None:
    assert repeats(np.array([[1, 1, 1], [1, 2, -1], [3, -1, -1]]), 3).tolist() == [2, 0, 0]


def test_reliability_of_three_predictions() -> None:
    found = reliability(np.array([0.1, 0.15, 1.0]), np.array([False, True, True]), bins=10)
    assert found.pairs.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.predicted[1] == pytest.approx(0.125) and found.observed[1] == 0.5
    assert found.expected_error == pytest.approx(2 / 3 * 0.375)


def test_calibrated_predictions_have_next_to_no_expected_error() -> None:
    random = np.random.default_rng(0)
    probability = random.random(200_000)
    happened = random.random(200_000) < probability
    assert reliability(probability, happened).expected_error < 0.01
    assert brier_score(probability, happened) == pytest.approx(1 / 6, abs=0.01)


def test_errors_of_two_predictions() -> None:
    predicted, actual = np.array([1.0, 2.0]), np.array([2.0, 5.0])
    assert mean_absolute_error(predicted, actual) == 2.0
    assert root_mean_square_error(predicted, actual) == pytest.approx(np.sqrt(5))


def test_ndcg_of_the_own_list_forgives_what_was_left_out() -> None:
    """The one relevant video of the list is first; two others were not listed by k = 2."""
    ranked = RankedLists.of(
        np.zeros(4),
        np.arange(4),
        np.array([4.0, 3.0, 2.0, 1.0]),
        np.array([1, 0, 1, 1]),
        np.array([1.0, 0, 2, 3]),
    )
    assert own_list_ndcg_at_k(ranked, 2).tolist() == [1.0]
    assert own_list_ndcg_at_k(ranked, 3)[0] == pytest.approx((1 + 2 / 2) / (2 + 1 / np.log2(3)))
    assert ndcg_at_k(ranked, 2)[0] < 1.0


def test_lists_cut_at_a_depth_give_the_same_figures_and_refuse_deeper_ones() -> None:
    random = np.random.default_rng(4)
    user, video = np.repeat(np.arange(9), 40), np.tile(np.arange(40), 9)
    score, relevant = random.random(360), random.random(360) < 0.2
    whole = RankedLists.of(user, video, score, relevant)
    cut = RankedLists.ordered(Order.of(user, video, score), Outcome.of(user, relevant, None, 10))
    np.testing.assert_array_equal(ndcg_at_k(whole, 10), ndcg_at_k(cut, 10))
    with pytest.raises(ValueError, match="cut at 10"):
        ndcg_at_k(cut, 11)


def test_an_order_regrouped_is_that_of_each_group_alone() -> None:
    random = np.random.default_rng(5)
    user, video = np.repeat(np.arange(6), 20), np.tile(np.arange(20), 6)
    score, part = random.random(120), random.integers(-1, 3, 120)
    order = Order.of(user, video, score).parts(part)
    for group, rows in zip(order.users, np.split(order.rows, order.starts[1:-1]), strict=True):
        mine = np.flatnonzero((part == group // 6) & (user == group % 6))
        assert rows.tolist() == mine[np.argsort(-score[mine])].tolist()


def test_auc_from_a_known_order_is_that_of_the_pairs() -> None:
    random = np.random.default_rng(6)
    user = random.integers(0, 8, 200)
    score, relevant = random.integers(0, 6, 200).astype(float), random.random(200) < 0.3
    order = Order.of(user, np.arange(200), score)
    found = auc_of_users(order, ascending_ranks(order, score), relevant)
    users, expected = grouped_auc(user, score, relevant)
    assert order.users.tolist() == users.tolist()
    np.testing.assert_allclose(found, expected)


def test_a_user_without_a_value_takes_no_part_in_its_interval() -> None:
    random = np.random.default_rng(7)
    values = random.random((40, 1))
    lonely = np.column_stack([values, np.where(np.arange(40)[:, None] < 25, values, np.nan)])
    bootstrap = Bootstrap.of(40, seed=1)
    low, high = bootstrap.intervals(lonely)
    assert low[0] < values.mean() < high[0]
    assert low[1] < values[:25].mean() < high[1]
    assert high[1] - low[1] > high[0] - low[0]


def test_a_column_without_any_value_has_no_interval() -> None:
    assert np.isnan(Bootstrap.of(3, seed=1).intervals(np.full((3, 1), np.nan))).all()
