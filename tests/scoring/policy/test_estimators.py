"""Off-policy estimates are Open Bandit Pipeline's to the last digits, and their intervals cover the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.policy.estimators import Estimate, Logged, doubly_robust, ips, snips

# Of a world whose truth is known: users draw one of ACTIONS for each of RANKS rows.
ACTIONS, RANKS = 4, 3


def _world(seed: int, users: int) -> tuple[dict[str, np.ndarray], float]:
    """Rows that a policy drew, and what the policy asked about gets on average for the same users."""
    random = np.random.default_rng(seed)
    context = random.normal(size=(users, 1, ACTIONS)) + random.normal(size=(1, RANKS, ACTIONS))
    logging = np.exp(0.7 * context) / np.exp(0.7 * context).sum(axis=2, keepdims=True)
    asked = np.exp(-context) / np.exp(-context).sum(axis=2, keepdims=True)
    reward = 1 / (1 + np.exp(1 - context))
    user, rank = np.divmod(np.arange(users * RANKS), RANKS)
    drawn = (random.random((users * RANKS, 1)) > logging[user, rank].cumsum(axis=1)).sum(axis=1)
    drawn = np.minimum(drawn, ACTIONS - 1)
    at = (user, rank, drawn)
    rows = {
        "user": user,
        "rank": rank,
        "drawn": drawn,
        "reward": (random.random(len(user)) < reward[at]).astype(np.float64),
        "propensity": logging[at],
        "asked": asked[user, rank],
        # A reward model that is off by some.
        "model": np.clip(reward[user, rank] + random.normal(scale=0.1, size=(len(user), ACTIONS)), 0, 1),
    }
    return rows, float((asked * reward).sum(axis=2).mean())


def _logged(rows: dict[str, np.ndarray]) -> Logged:
    evaluated = rows["asked"][np.arange(len(rows["drawn"])), rows["drawn"]]
    return Logged(rows["user"], rows["reward"], rows["propensity"], evaluated)


def _every(rows: dict[str, np.ndarray]) -> dict[str, Estimate]:
    logged = _logged(rows)
    expected = rows["model"][np.arange(len(rows["drawn"])), rows["drawn"]]
    of_policy = (rows["asked"] * rows["model"]).sum(axis=1)
    return {"ips": ips(logged), "snips": snips(logged), "dr": doubly_robust(logged, expected, of_policy)}


def _by_the_papers(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """Row by row, as the papers write them and Open Bandit Pipeline computes them."""
    ips_sum = snips_sum = weights = dr_sum = 0.0
    for i in range(len(rows["drawn"])):
        action, reward = int(rows["drawn"][i]), float(rows["reward"][i])
        weight = float(rows["asked"][i, action]) / float(rows["propensity"][i])
        ips_sum += weight * reward
        snips_sum += weight * reward
        weights += weight
        direct = sum(float(p) * float(q) for p, q in zip(rows["asked"][i], rows["model"][i], strict=True))
        dr_sum += direct + weight * (reward - float(rows["model"][i, action]))
    n = len(rows["drawn"])
    return {"ips": ips_sum / n, "snips": snips_sum / weights, "dr": dr_sum / n}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_estimates_are_those_of_the_papers(seed: int, users: int) -> None:
    rows, _ = _world(seed, users)
    expected = _by_the_papers(rows)
    for name, found in _every(rows).items():
        assert found.value == pytest.approx(expected[name], rel=1e-9, abs=1e-12)
        assert found.low <= found.value <= found.high
        assert 1 <= found.effective <= len(rows["drawn"]) + 1e-6


def test_estimates_are_open_bandit_pipelines() -> None:
    obp = pytest.importorskip("obp.ope", exc_type=ImportError)
    for seed in range(5):
        rows, _ = _world(seed, 40)
        # Of ranks that a row is not of, any distribution will do.
        asked = np.full((len(rows["drawn"]), ACTIONS, RANKS), 1 / ACTIONS)
        model = np.zeros_like(asked)
        at = np.arange(len(rows["drawn"]))
        asked[at, :, rows["rank"]] = rows["asked"]
        model[at, :, rows["rank"]] = rows["model"]
        shared = {
            "reward": rows["reward"],
            "action": rows["drawn"],
            "pscore": rows["propensity"],
            "action_dist": asked,
            "position": rows["rank"],
        }
        found = _every(rows)
        for name, theirs, more in (
            ("ips", obp.InverseProbabilityWeighting(), {}),
            ("snips", obp.SelfNormalizedInverseProbabilityWeighting(), {}),
            ("dr", obp.DoublyRobust(), {"estimated_rewards_by_reg_model": model}),
        ):
            assert found[name].value == pytest.approx(theirs.estimate_policy_value(**shared, **more))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    covered = dict.fromkeys(("ips", "snips", "dr"), 0)
    worlds = 300
    for seed in range(worlds):
        rows, truth = _world(seed, 200)
        for name, found in _every(rows).items():
            covered[name] += found.low <= truth <= found.high
    # Weights are skewed, so that a few per cent are lost at this size; three standard errors beyond.
    assert all(n / worlds > 0.95 - 0.03 - 3 * np.sqrt(0.95 * 0.05 / worlds) for n in covered.values()), (
        covered
    )


def test_what_cannot_have_been_drawn_is_refused() -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="propensity"):
        Logged(np.array([1]), one, np.zeros(1), one)
    with pytest.raises(ValueError, match="finite"):
        Logged(np.array([1]), np.array([np.nan]), one, one)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Logged(np.array([1]), one, one, np.array([1.5]))
    assert np.isnan(ips(Logged(*(np.zeros(0),) * 4)).value)
    assert np.isnan(snips(Logged(np.array([1, 2]), *(np.ones(2),) * 2, np.zeros(2))).value)
