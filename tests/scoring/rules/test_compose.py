"""A list by the rules is whole, keeps what can be kept, and says of each row what put it there."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.lists.candidates import Cap
from scoring.lists.rules.compose import DIVERSITY, EXPLORE, Chosen, Pin, Quota, compose
from scoring.lists.rules.exploration import Exploration
from scoring.lists.rules.likeness import TextAndCategory

VIDEOS = 12
# Of a video, by its position: two kinds that overlap, and authors of three videos each.
EVEN = np.arange(VIDEOS) % 2 == 0
FIRST = np.arange(VIDEOS) < 4
AUTHOR = np.arange(VIDEOS) // 3
_orders = st.permutations(range(VIDEOS)).flatmap(
    lambda order: st.integers(1, VIDEOS).map(lambda n: np.array(order[:n], dtype=np.int64))
)
_pins = st.lists(st.builds(Pin, st.just("pin:1"), st.integers(1, 15), st.integers(0, VIDEOS - 1)), max_size=3)


def _others() -> np.ndarray:
    return np.arange(VIDEOS)


def _at_least(videos: np.ndarray, n: int) -> Quota:
    return Quota("at_least:2", videos, least=n)


def _at_most(videos: np.ndarray, n: int) -> Quota:
    return Quota("at_most:3", videos, most=n)


@settings(max_examples=300, deadline=None)
@given(
    _orders,
    st.integers(1, 14),
    _pins,
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.4]),
)
def test_whatever_the_rules_ask_a_list_is_whole_and_no_cap_is_broken(
    order: np.ndarray,
    k: int,
    pins: list[Pin],
    least: int,
    most: int,
    cap: int | None,
    diversity: float,
    explored: float,
) -> None:
    caps = () if cap is None else (Cap("max_per_author", cap, AUTHOR),)
    chosen = compose(
        order,
        k,
        pins=pins,
        quotas=[_at_least(EVEN, least), _at_most(FIRST, most)],
        caps=caps,
        likeness=TextAndCategory(diversity, np.zeros((VIDEOS, 0), np.float32), AUTHOR),
        draw=Exploration(explored, 1, 5, 1.0, "night").of_list(7, k, np.linspace(1, 0, len(order))),
        others=_others,
    )
    assert len(set(chosen.video)) == len(chosen.video)
    most_rows = VIDEOS if cap is None else 4 * cap
    assert len(chosen.video) == min(k, most_rows)
    if cap is not None:
        assert max(Counter(AUTHOR[chosen.video].tolist()).values()) <= cap
    assert all(0 < p <= 1 for p in chosen.propensity)
    assert all(p == 1 for p, rule in zip(chosen.propensity, chosen.rule, strict=True) if rule != EXPLORE)
    # Rows without a rule are in the model's order; what it did not order comes last.
    rank = {int(video): at for at, video in enumerate(order)}
    own = [rank.get(video, VIDEOS) for video, rule in zip(chosen.video, chosen.rule, strict=True) if not rule]
    assert own == sorted(own)


@settings(max_examples=200, deadline=None)
@given(_orders, st.integers(1, VIDEOS), st.integers(0, 8), st.integers(0, 8))
def test_quotas_that_can_be_kept_are_kept(order: np.ndarray, k: int, least: int, most: int) -> None:
    chosen = compose(order, k, quotas=[_at_least(EVEN, least), _at_most(~EVEN, most)], others=_others)
    even = int(EVEN[chosen.video].sum())
    assert even >= min(least, k, int(EVEN.sum()))
    if k - most <= EVEN.sum():
        assert len(chosen.video) - even <= most


@settings(max_examples=200, deadline=None)
@given(_orders, st.integers(1, VIDEOS), st.lists(st.integers(0, VIDEOS - 1), max_size=4, unique=True))
def test_pins_that_do_not_meet_stand_at_their_ranks(order: np.ndarray, k: int, videos: list[int]) -> None:
    pins = [Pin(f"pin:{n}", 1 + 2 * n, video) for n, video in enumerate(videos)]
    chosen = compose(order, k, pins=pins, others=_others)
    for pin in pins:
        if pin.rank <= k:
            assert chosen.video[pin.rank - 1] == pin.video and chosen.rule[pin.rank - 1] == pin.name
    rest = [video for video in order.tolist() if video not in [pin.video for pin in pins]]
    own = [video for video, rule in zip(chosen.video, chosen.rule, strict=True) if not rule]
    assert own[: len(rest)] == rest[: len(own)]


def _reference_mmr(order: np.ndarray, k: int, weight: float, like: np.ndarray) -> list[int]:
    """Carbonell and Goldstein 1998, with relevance by position as DCG discounts it."""
    chosen: list[int] = []
    while len(chosen) < k:
        values = {
            video: (1 - weight) / np.log2(2 + at) - weight * max([like[video, one] for one in chosen] or [0])
            for at, video in enumerate(order.tolist())
            if video not in chosen
        }
        chosen.append(max(values, key=lambda video: round(values[video], 9)))
    return chosen


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(VIDEOS)), st.integers(1, VIDEOS), st.floats(0.05, 0.9), st.integers(0, 99))
def test_diversity_is_maximal_marginal_relevance(order: list[int], k: int, weight: float, seed: int) -> None:
    text = np.random.default_rng(seed).random((VIDEOS, 3)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    likeness = TextAndCategory(weight, text, AUTHOR)
    like = np.array([likeness.between(video, np.arange(VIDEOS)) for video in range(VIDEOS)])
    assert np.allclose(like, (text @ text.T + (AUTHOR[:, None] == AUTHOR)) / 2, atol=1e-5)
    chosen = compose(np.array(order), k, likeness=likeness)
    assert chosen.video == _reference_mmr(np.array(order), k, weight, like)
    assert set(chosen.rule) <= {"", DIVERSITY}


def test_draws_come_as_often_as_is_logged() -> None:
    """Over many users: each row's frequency at a rank is the mean of what was logged for it."""
    order, scores = np.arange(VIDEOS), np.array([3.0, 2.5, 2.4, *np.linspace(1, 0, VIDEOS - 3)])
    exploration = Exploration(0.5, 2, 4, 0.7, "night")
    drawn: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    weights = np.exp((scores[2:6] - scores[2:6].max()) / scores[2:6].std() / 0.7)
    probability = weights / weights.sum()
    users = 0
    for user in range(4000):
        draws = exploration.of_list(user, 6, scores)
        assert len(draws.ranks) == 3 and min(draws.ranks) > 2
        chosen: Chosen = compose(order, 6, draw=draws)
        assert chosen.video[:2] == [0, 1]
        if 3 in draws.ranks:
            users += 1
            drawn[chosen.video[2]] += 1
            assert chosen.rule[2] == EXPLORE
            assert abs(chosen.propensity[2] - probability[chosen.video[2] - 2]) < 1e-9
            for video, p in zip(range(2, 6), probability, strict=True):
                expected[video] += p
    for video in range(2, 6):
        p = expected[video] / users
        assert abs(drawn[video] / users - p) < 5 * np.sqrt(p * (1 - p) / users)
    again = compose(order, 6, draw=exploration.of_list(11, 6, scores))
    assert again == compose(order, 6, draw=exploration.of_list(11, 6, scores))
