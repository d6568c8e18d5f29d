"""What a play is expected to be is what plays are on average."""

from dataclasses import replace

import numpy as np
import pytest

from synthetic import calendar, watching

PLAYS = 400_000


@pytest.mark.parametrize("regime", [watching.ATTENTIVE, watching.CASUAL])
@pytest.mark.parametrize("appeal", [-0.3, 0.0, 0.4])
@pytest.mark.parametrize("length_s", [4.0, 9.6, 40.0])
def test_expectation_is_the_mean_of_many_plays(
    regime: watching.Regime, appeal: float, length_s: float
) -> None:
    """Mean ratio within 1.5 % and share over 1.0 within .004, plays left running set aside."""
    regime = replace(regime, left_share=0.0)
    log_length = np.full(PLAYS, np.log(length_s), dtype=np.float32)
    chance = watching.chances(
        regime, np.full(PLAYS, appeal, dtype=np.float32), np.zeros(PLAYS, dtype=np.float32), log_length
    )
    ratio = watching.draw_play_ms(regime, chance, np.random.default_rng(0)) / (1000 * length_s)
    assert ratio.mean() == pytest.approx(watching.expected_ratio(regime, chance, log_length)[0], rel=0.015)
    likely = watching.probability_over(regime, chance, log_length, 1.0)[0]
    assert (ratio > 1.0).mean() == pytest.approx(likely, abs=0.004)


def test_plays_left_running_have_the_mean_that_the_truth_counts() -> None:
    """A Pareto tail up to the longest play: mean within 5 % where every play is of that kind."""
    regime = replace(watching.ATTENTIVE, left_share=1.0)
    log_length = np.full(PLAYS, np.log(10.0), dtype=np.float32)
    nothing = np.zeros(PLAYS, dtype=np.float32)
    chance = watching.chances(regime, nothing, nothing, log_length)
    ratio = watching.draw_play_ms(regime, chance, np.random.default_rng(0)) / 10_000
    assert ratio.mean() == pytest.approx(watching.expected_ratio(regime, chance, log_length)[0], rel=0.05)
    assert ratio.max() == pytest.approx(regime.play_s_max / 10)


def test_first_plays_and_rewatches_together_follow_the_days() -> None:
    """Three days of 50, 30 and 20 %: a re-watch falls on the first play's day or later, by those shares."""
    shares = np.array([0.5, 0.3, 0.2])
    again = 0.2
    first = calendar.first_play_shares(shares, again)
    left = np.cumsum(shares[::-1])[::-1]
    later = [shares[day] * sum(first[: day + 1] / left[: day + 1]) for day in range(3)]
    assert first.sum() == pytest.approx(1)
    assert (1 - again) * first + again * np.array(later) == pytest.approx(shares)
    assert first[0] > shares[0]


def test_balanced_days_follow_the_shares_and_never_precede_a_video() -> None:
    """Two videos, the second from the last day on; where each is shown once, each day gets its half."""
    fresh = np.array([[1.0, 1.0], [0.0, 1.0]])
    weights = calendar.balanced(fresh, None, np.array([0.4, 0.6]), np.ones(1))
    by_day = (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0) / 2
    assert by_day == pytest.approx([0.4, 0.6], abs=0.01)
    assert weights[1, 0] == 0
