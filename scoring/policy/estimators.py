"""Off-policy estimates from logged probabilities: what a policy that was not followed would have got.

Inverse propensity scores (IPS; Horvitz and Thompson 1952), self-normalised (SNIPS; Swaminathan and Joachims
2015), doubly robust (DR; Dudik, Langford and Li 2011). The same formulas as Open Bandit Pipeline's, round by
round; a slate is taken position by position, each by its own probability given what stands above it (the
item-position model; Li, Abbasi-Yadkori, Kveton et al. 2018).
"""

import math
from dataclasses import dataclass

import numpy as np

_Z = 1.959963984540054  # of 95 % in the middle of a normal distribution


@dataclass(frozen=True)
class Logged:
    """Rows that were drawn, all arrays one entry a row.

    user: int64, whose rows belong together. reward: float64, such as 1 for a liked play. propensity: float64,
    in (0, 1], of what was drawn. evaluated: float64, how probable it is under the policy asked about.
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
        """How much more often the policy asked about has a row: float64 [rows]."""
        weight: np.ndarray = self.evaluated / self.propensity
        return weight


@dataclass(frozen=True)
class Estimate:
    """A mean reward a row, and its 95 % interval over users.

    effective: how many rows of the policy itself it is worth: (sum of weights)^2 / sum of their squares (Kish
    1965).
    """

    value: float
    low: float
    high: float
    effective: float


def ips(logged: Logged) -> Estimate:
    """The mean of weighted rewards; unbiased where every row of the policy could have been drawn."""
    return _estimate(logged.weight * logged.reward, logged)


def snips(logged: Logged) -> Estimate:
    """The weighted mean of rewards: a little biased, and of less variance; NaN where all weights are 0."""
    weight = logged.weight
    total = float(weight.sum())
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan, 0.0)
    value = float((weight * logged.reward).sum()) / total
    # Of the ratio of two means, to first order: its residuals.
    residual = weight * (logged.reward - value) / (total / len(weight))
    around = _estimate(residual, logged)
    return Estimate(
        value, value + around.low - around.value, value + around.high - around.value, around.effective
    )


def doubly_robust(logged: Logged, expected: np.ndarray, expected_of_policy: np.ndarray) -> Estimate:
    """What a reward model expects of the policy, mended by its error on the rows that were drawn.

    expected: float64 [rows], of the row that was drawn. expected_of_policy: the same of what the policy would
    have put there, the mean over its choices. Unbiased where propensities or the model are right. The model
    must not be fitted on the same rows.
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
