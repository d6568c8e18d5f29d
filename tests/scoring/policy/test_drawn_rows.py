"""Rows that a run has drawn, under another order: under its own they are as probable as was logged."""

import numpy as np

from scoring.lists.rows import HYBRID, Lists
from scoring.lists.rules.compose import compose
from scoring.lists.rules.exploration import Exploration
from scoring.policy.evaluate import drawn_rows

VIDEOS, K = 12, 6
EXPLORATION = Exploration(0.6, 1, 4, 0.8, "night")


def _rows(user: int, videos: np.ndarray, score: np.ndarray, propensity: np.ndarray) -> Lists:
    n = len(videos)
    rank = np.arange(1, n + 1, dtype=np.int32)
    texts = np.full(n, HYBRID), np.full(n, ""), np.full(n, "")
    return Lists(np.full(n, user), rank, videos, score, *[score] * 3, *texts, propensity)


def _world(users: int) -> tuple[Lists, Lists]:
    """Each user's order by a model, and the list that was drawn from it."""
    random = np.random.default_rng(5)
    orders, lists = [], []
    for user in range(users):
        videos, score = random.permutation(VIDEOS), np.sort(random.normal(size=VIDEOS))[::-1]
        chosen = compose(videos, K, draw=EXPLORATION.of_list(user, K, score))
        propensity = np.array(chosen.propensity)
        orders.append(_rows(user, videos, score, np.full(VIDEOS, np.nan)))
        lists.append(_rows(user, np.array(chosen.video), np.zeros(K), propensity))
    return Lists.concatenate(orders), Lists.concatenate(lists)


def test_under_their_own_order_rows_are_as_probable_as_was_logged() -> None:
    order, stored = _world(60)
    found = drawn_rows(stored, order, EXPLORATION)
    assert len(found.user) == (stored.propensity < 1).sum() > 100
    assert np.allclose(found.evaluated, found.propensity, rtol=1e-12, atol=0)
    assert all(abs(probabilities.sum() - 1) < 1e-12 for _, probabilities in found.choices)


def test_what_another_order_would_not_have_drawn_from_has_no_probability() -> None:
    order, stored = _world(60)
    other = order.rows(np.concatenate([np.arange(VIDEOS)[::-1] + VIDEOS * user for user in range(60)]))
    other = _in_order(other)
    found = drawn_rows(stored, other, EXPLORATION)
    assert (found.evaluated == 0).any() and found.evaluated.max() < 1
    for video, evaluated, (choices, _) in zip(found.video, found.evaluated, found.choices, strict=True):
        assert (evaluated > 0) == (video in choices)


def _in_order(lists: Lists) -> Lists:
    ranks = np.tile(np.arange(1, VIDEOS + 1, dtype=np.int32), len(lists) // VIDEOS)
    score = np.tile(np.linspace(2, -1, VIDEOS), len(lists) // VIDEOS)
    return Lists(
        lists.user_id, ranks, lists.video_id, score, *[score] * 3, lists.source, lists.rule, lists.arm
    )
