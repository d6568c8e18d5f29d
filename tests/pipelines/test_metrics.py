"""Metrics by hand on three-row tables, and against ir_measures and scikit-learn on random lists."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from pipelines.metrics import (
    Order,
    RankedLists,
    auc,
    aucs,
    average_precision_at_k,
    bootstrap_intervals,
    graded_ndcg_at_k,
    grouped_auc,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

# One user, three videos in the order of their scores: liked, not liked, liked; graded 1, 0, 3.
ONE = RankedLists.of(
    np.array([7, 7, 7]),
    np.array([10, 11, 12]),
    np.array([0.9, 0.5, 0.1]),
    np.array([True, False, True]),
    np.array([1.0, 0.0, 3.0]),
)


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (precision_at_k, 1, 1.0),
        (precision_at_k, 2, 1 / 2),
        (precision_at_k, 10, 2 / 10),
        (recall_at_k, 1, 1 / 2),
        (recall_at_k, 3, 1.0),
        (hit_rate_at_k, 1, 1.0),
        (reciprocal_rank_at_k, 3, 1.0),
        (average_precision_at_k, 1, 1 / 2),
        (average_precision_at_k, 3, (1 + 2 / 3) / 2),
        (ndcg_at_k, 1, 1.0),
        (ndcg_at_k, 2, 1 / (1 + 1 / np.log2(3))),
        (ndcg_at_k, 3, (1 + 1 / 2) / (1 + 1 / np.log2(3))),
        (graded_ndcg_at_k, 1, 1 / 3),
        (graded_ndcg_at_k, 3, (1 + 3 / 2) / (3 + 1 / np.log2(3))),
    ],
)
def test_three_rows_worked_out_by_hand(metric, k, expected):  # type: ignore[no-untyped-def]
    np.testing.assert_allclose(metric(ONE, k), [expected], rtol=1e-12)


def test_relevant_video_at_the_end_counts_from_its_place_on() -> None:
    late = RankedLists.of(
        np.array([1, 1, 1]), np.array([1, 2, 3]), np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1])
    )
    assert hit_rate_at_k(late, 2).tolist() == [0.0]
    assert reciprocal_rank_at_k(late, 2).tolist() == [0.0]
    np.testing.assert_allclose(reciprocal_rank_at_k(late, 3), [1 / 3])


def test_equal_scores_go_to_the_smaller_video_and_missing_scores_last() -> None:
    videos = np.array([5, 3, 4, 1])
    scores = np.array([1.0, 1.0, np.nan, np.nan])
    for relevant_video, rank in ((3, 1), (5, 2), (1, 3), (4, 4)):
        ranked = RankedLists.of(np.full(4, 9), videos, scores, videos == relevant_video)
        assert reciprocal_rank_at_k(ranked, 4).tolist() == [1 / rank]


def test_users_without_a_relevant_video_are_counted_and_left_out() -> None:
    ranked = RankedLists.of(
        np.array([1, 2, 2, 3]), np.array([1, 1, 2, 1]), np.ones(4), np.array([True, False, False, True])
    )
    assert ranked.users.tolist() == [1, 3]
    assert ranked.left_out == 1
    assert ndcg_at_k(ranked, 10).tolist() == [1.0, 1.0]


def test_no_user_at_all_gives_no_value() -> None:
    nobody = RankedLists.of(np.array([1]), np.array([1]), np.array([0.5]), np.array([False]))
    for metric in (precision_at_k, recall_at_k, ndcg_at_k, average_precision_at_k, reciprocal_rank_at_k):
        assert metric(nobody, 3).shape == (0,)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        precision_at_k(ONE, 0)


MEASURES = {
    ir_measures.P: precision_at_k,
    ir_measures.R: recall_at_k,
    ir_measures.Success: hit_rate_at_k,
    ir_measures.RR: reciprocal_rank_at_k,
    ir_measures.AP: average_precision_at_k,
    ir_measures.nDCG: graded_ndcg_at_k,
}


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_ir_measures_on_random_lists(seed: int) -> None:
    """40 users with 1..60 videos each, graded 0..4, every measure at every cutoff, to 1e-9."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 60, 40)
    user = np.repeat(np.arange(40), sizes)
    video = np.concatenate([random.permutation(100)[:size] for size in sizes])
    score = random.permutation(len(user)) / len(user)  # distinct: trec_eval breaks ties in its own way
    grade = random.integers(0, 5, len(user)) * (random.random(len(user)) < 0.5)
    shuffled = random.permutation(len(user))
    ranked = RankedLists.of(
        user[shuffled], video[shuffled], score[shuffled], grade[shuffled] > 0, grade[shuffled]
    )
    judged = [ir_measures.Qrel(str(u), str(v), int(g)) for u, v, g in zip(user, video, grade, strict=True)]
    run = [ir_measures.ScoredDoc(str(u), str(v), s) for u, v, s in zip(user, video, score, strict=True)]
    binary = [qrel._replace(relevance=min(1, qrel.relevance)) for qrel in judged]
    for k in (1, 3, 10, 100):
        cases = [(measure @ k, ours, judged) for measure, ours in MEASURES.items()]
        cases.append((ir_measures.nDCG @ k, ndcg_at_k, binary))
        for measure, ours, qrels in cases:
            theirs = {int(m.query_id): m.value for m in ir_measures.iter_calc([measure], qrels, run)}
            expected = [theirs[u] for u in ranked.users.tolist()]
            np.testing.assert_allclose(ours(ranked, k), expected, rtol=0, atol=1e-9, err_msg=f"{measure}")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, n, elements=st.integers(0, 3)),
            hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
            hnp.arrays(np.bool_, n),
        )
    )
)
def test_auc_is_that_of_scikit_learn_ties_included(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    user, score, relevant = case
    users, values = grouped_auc(user, score, relevant)
    expected = {
        u: roc_auc_score(relevant[user == u], score[user == u])
        for u in np.unique(user).tolist()
        if 0 < relevant[user == u].sum() < (user == u).sum()
    }
    assert users.tolist() == list(expected)
    np.testing.assert_allclose(values, list(expected.values()), rtol=0, atol=1e-9)
    pooled = auc(score, relevant)
    if relevant.all() or not relevant.any():
        assert pooled is None
    else:
        assert pooled == pytest.approx(roc_auc_score(relevant, score), abs=1e-9)


def test_auc_of_three_rows_by_hand() -> None:
    """Liked 0.9, not 0.5, liked 0.5: one pair won, one tied: 3/4."""
    assert auc(np.array([0.9, 0.5, 0.5]), np.array([True, False, True])) == 0.75


def test_missing_scores_are_the_lowest_and_tied() -> None:
    assert auc(np.array([np.nan, 0.1, np.nan]), np.array([True, True, False])) == 0.75


def test_interval_encloses_the_mean_narrows_with_users_and_repeats() -> None:
    random = np.random.default_rng(1)
    widths = []
    for users in (50, 5000):
        values = random.normal(0.5, 0.2, (users, 2))
        low, high = bootstrap_intervals(values, seed=3)
        assert (low < values.mean(axis=0)).all() and (values.mean(axis=0) < high).all()
        widths.append(high - low)
        np.testing.assert_array_equal([low, high], bootstrap_intervals(values, seed=3))
    # The width of a mean's 95 % interval is 2 * 1.96 * sigma / sqrt(users).
    np.testing.assert_allclose(widths[1], 2 * 1.96 * 0.2 / np.sqrt(5000), rtol=0.1)
    assert (widths[0] > 5 * widths[1]).all()


def test_one_user_gives_an_interval_without_width() -> None:
    assert bootstrap_intervals(np.array([[0.25]]), seed=1).tolist() == [[0.25], [0.25]]


_SCORES = st.floats(allow_subnormal=True) | st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 300), elements=_SCORES), st.integers(1, 4))
def test_pairs_are_in_the_order_of_a_stable_sort(score: np.ndarray, users: int) -> None:
    """Also with infinite and unknown scores and zeros of either sign; NumPy's sort puts NaN last, too."""
    user = np.sort(np.arange(len(score)) % users)
    found = Order.of(user, np.arange(len(score)), score)
    expected: list[int] = []
    for one in range(users):
        own = np.flatnonzero(user == one)
        expected += own[np.argsort(-score[own], kind="stable")].tolist()
    assert found.rows.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_auc_of_ten_labels_is_the_share_of_pairs_in_order(pairs: int, seed: int) -> None:
    """More labels than are counted at once, by comparing each relevant pair with each other one."""
    random = np.random.default_rng(seed)
    score = random.choice([-np.inf, np.nan, 0.0, 1.0, 2.0], pairs)
    labels = [random.random(pairs) < 0.5 for _ in range(10)]
    known = np.where(np.isnan(score), -np.inf, score)
    above = (known[:, None] > known) + (known[:, None] == known) / 2
    for relevant, found in zip(labels, aucs(score, labels), strict=True):
        if relevant.all() or not relevant.any():
            assert found is None
        else:
            assert found == pytest.approx(above[relevant][:, ~relevant].mean())
