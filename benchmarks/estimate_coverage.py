"""How often the intervals of off-policy estimates cover the truth, over many draws of a small world.

The world's truth is synthetic's, the draws and probabilities are the product's: users anew in each world, a
logging order, another one, both near the truth. Two worlds: one in which each row could have been drawn from
all that the other order may draw from, and one in which it could not.
"""

from typing import Any

import numpy as np

from scoring.lists.rows import HYBRID, Lists
from scoring.lists.rules.compose import compose
from scoring.lists.rules.exploration import Exploration
from scoring.policy.evaluate import Drawn, drawn_rows, estimates_of, support_of
from synthetic.calendar import DAY_MS
from synthetic.feedback import Feedback

USERS, VIDEOS, K, AFTER, POPULATION = 300, 24, 8, 2, 2_000
# From how many next rows of the order a row is drawn.
AMONG = {"full support": VIDEOS, "among the next 6": 6}


def coverage(worlds: int, seed: int = 3) -> list[dict[str, Any]]:
    """Per kind of world and estimator: the share of intervals with the truth, mean error, mean half width."""
    feedback = Feedback.of(users=POPULATION, videos=VIDEOS * 10, interactions=POPULATION, days=30, seed=seed)
    return [one for name, among in AMONG.items() for one in _of_worlds(feedback, worlds, name, among)]


def _of_worlds(feedback: Feedback, worlds: int, name: str, among: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    video = np.arange(VIDEOS) * 10
    pairs = (np.repeat(np.arange(POPULATION), VIDEOS), np.tile(video, POPULATION))
    at = np.full(len(pairs[0]), 15 * DAY_MS + 20 * 3_600_000)
    truth = feedback.probability_liked(*pairs, at).reshape(POPULATION, VIDEOS)
    # Two models, each of which errs in its own way.
    logging, asked = (truth + random.normal(scale=0.15, size=truth.shape) for _ in range(2))
    estimates: dict[str, list[dict[str, Any]]] = {}
    expected, support = [], []
    for world in range(worlds):
        users = np.sort(random.permutation(POPULATION)[:USERS])
        exploration = Exploration(1.0, AFTER, among, 1.0, f"world {world}")
        drawn = _drawn(users, logging, asked, exploration)
        reward = (random.random(len(drawn.user)) < truth[drawn.user, drawn.video]).astype(np.float64)
        expected.append(
            np.mean(
                [p @ truth[user, videos] for user, (videos, p) in zip(drawn.user, drawn.choices, strict=True)]
            )
        )
        support.append(support_of(drawn).value)
        for of in estimates_of(drawn, reward):
            estimates.setdefault(of["estimator"], []).append(of)
    # Users are drawn anew each time: the truth is the mean over all of them.
    mean = float(np.mean(expected))
    return [
        {
            "world": name,
            "estimator": estimator,
            "worlds": worlds,
            "covers": float(np.mean([of["low"] <= mean <= of["high"] for of in each])),
            "bias": float(np.mean([of["value"] for of in each])) - mean,
            "half": float(np.mean([of["high"] - of["low"] for of in each])) / 2,
            "effective": float(np.mean([of["effective"] for of in each])),
            "truth": mean,
            "support": float(np.mean(support)),
        }
        for estimator, each in estimates.items()
        if estimator != "as it was"
    ]


def _drawn(users: np.ndarray, logging: np.ndarray, asked: np.ndarray, exploration: Exploration) -> Drawn:
    """These users' lists as one model's scores had them drawn, and their rows under another's."""
    stored, orders = [], []
    for user in users.tolist():
        order = np.argsort(-logging[user], kind="stable")
        draws = exploration.of_list(user, K, logging[user][order])
        chosen = compose(order, K, draw=draws)
        stored.append(_rows(user, np.array(chosen.video), np.zeros(K), np.array(chosen.propensity)))
        other = np.argsort(-asked[user], kind="stable")
        orders.append(_rows(user, other, asked[user][other], np.full(VIDEOS, np.nan)))
    return drawn_rows(Lists.concatenate(stored), Lists.concatenate(orders), exploration)


def _rows(user: int, videos: np.ndarray, score: np.ndarray, propensity: np.ndarray) -> Lists:
    n = len(videos)
    rank = np.arange(1, n + 1, dtype=np.int32)
    source, sources = np.full(n, HYBRID), np.full(n, "")
    return Lists(
        np.full(n, user), rank, videos, score, score, score, score, source, sources, propensity=propensity
    )
