"""Off-policy estimates from logged probabilities: the reward that another policy would have got.

Inverse propensity scores (IPS; Horvitz and Thompson 1952), self-normalised (SNIPS; Swaminathan and Joachims
2015), doubly robust (DR; Dudik, Langford and Li 2011). The formulas are those of Open Bandit Pipeline, row by
row; a list is evaluated rank by rank, each with its own probability given the rows above it (the
item-position model; Li, Abbasi-Yadkori, Kveton et al. 2018).
"""

import math
from dataclasses import dataclass

import numpy as np

_Z = 1.959963984540054  # of 95 % in the middle of a normal distribution


@dataclass(frozen=True)
class Logged:
    """Rows that were drawn; all arrays have one entry per row.

    Attributes:
        user: int64; a user's rows are not independent.
        reward: float64, such as 1 for a liked play.
        propensity: float64 in (0, 1], probability with which the row was drawn.
        evaluated: float64, its probability under the evaluated policy.
    """

    user: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    evaluated: np.ndarray

    def __post_init__(self) -> None:
        """Raises ValueError where a number is none, or a propensity is 0: nothing drawn has it."""
        every = (self.reward, self.propensity, self.evaluated)
        if not all(len(one) == len(self.user) and np.isfinite(one).all() for one in every):
            raise ValueError("each row has a finite reward and probabilities")
        if ((self.propensity <= 0) | (self.propensity > 1)).any():
            raise ValueError("a propensity is above 0 and at most 1")
        if ((self.evaluated < 0) | (self.evaluated > 1)).any():
            raise ValueError("a probability is between 0 and 1")

    @property
    def weight(self) -> np.ndarray:
        """How much more often the evaluated policy would draw each row: float64 [rows]."""
        weight: np.ndarray = self.evaluated / self.propensity
        return weight


@dataclass(frozen=True)
class Estimate:
    """Mean reward per row, with its 95 % interval over users.

    Attributes:
        effective: effective sample size, (sum of weights)^2 / sum of squared weights (Kish 1965).
    """

    value: float
    low: float
    high: float
    effective: float


def ips(logged: Logged) -> Estimate:
    """Mean of the weighted rewards; unbiased if every row of the policy could have been drawn."""
    return _estimate(logged.weight * logged.reward, logged)


def snips(logged: Logged) -> Estimate:
    """Weighted mean of the rewards: slightly biased, with less variance; NaN if all weights are 0."""
    weight = logged.weight
    total = float(weight.sum())
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan, 0.0)
    value = float((weight * logged.reward).sum()) / total
    # The residuals of a ratio of two means, to first order.
    residual = weight * (logged.reward - value) / (total / len(weight))
    around = _estimate(residual, logged)
    return Estimate(
        value, value + around.low - around.value, value + around.high - around.value, around.effective
    )


def doubly_robust(logged: Logged, expected: np.ndarray, expected_of_policy: np.ndarray) -> Estimate:
    """A reward model's estimate for the policy, corrected by the model's error on the drawn rows.

    Unbiased if the propensities or the model are right. The model must not be fitted on the same rows.

    Args:
        expected: float64 [rows], expected reward of the drawn row.
        expected_of_policy: float64 [rows], mean expected reward over the policy's choices for it.
    """
    return _estimate(expected_of_policy + logged.weight * (logged.reward - expected), logged)


def _estimate(of_rows: np.ndarray, logged: Logged) -> Estimate:
    """The mean over rows, and its interval over users, whose rows are not independent."""
    rows = len(of_rows)
    if not rows:
        return Estimate(math.nan, math.nan, math.nan, 0.0)
    value = float(of_rows.mean())
    users, at = np.unique(logged.user, return_inverse=True)
    if len(users) > 1:
        residuals = np.bincount(at, of_rows - value)
        error = math.sqrt(float((residuals**2).sum()) * len(users) / (len(users) - 1)) / rows
    else:
        error = math.inf
    weight = logged.weight
    squares = float((weight**2).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - _Z * error, value + _Z * error, effective)
