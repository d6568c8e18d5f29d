"""A weighted sum of all systems' scores, its weights chosen on the tuning users.

Each score is brought to a common scale first: probabilities and shares as log-odds, counts and amounts as
logarithms, all of them standardised. Weights are searched one at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_STEPS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_SWEEPS = 2
_LEAST = 1e-6
_LEAST_GAIN = 5e-4  # of quality: less is chance, and fewer scores are easier to explain


def log_odds(values: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p)), p kept off 0 and 1: float64."""
    p = np.clip(values, _LEAST, 1 - _LEAST)
    odds: np.ndarray = np.log(p / (1 - p))
    return odds


def logarithm(values: np.ndarray) -> np.ndarray:
    """ln(1 + x) of amounts, which are at least 0: float64."""
    found: np.ndarray = np.log1p(np.maximum(values, 0.0))
    return found


@dataclass(frozen=True)
class Blend:
    """How much each score counts, once brought to its scale and standardised; unknown scores count 0."""

    weights: Mapping[str, float]
    means: Mapping[str, float]
    deviations: Mapping[str, float]

    def scores(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """The blended score of each pair: float64 [pairs]."""
        first = next(iter(components.values()))
        total = np.zeros(len(first))
        for name, weight in self.weights.items():
            if weight:
                total += weight * _standard(components[name], self.means[name], self.deviations[name])
        return total


def tuned_blend(
    components: Mapping[str, np.ndarray], start: str, quality: Callable[[np.ndarray], float]
) -> Blend:
    """Search the weights with the highest quality, beginning with `start` alone.

    components: a score a pair, on its scale. quality: of an array of scores; larger is better. Weights
    change for a gain that matters only, so the same input gives the same, plain blend.
    """
    means, deviations = {}, {}
    for name, values in components.items():
        known = values[np.isfinite(values)]
        means[name] = float(known.mean()) if len(known) else 0.0
        deviations[name] = float(known.std()) if len(known) else 0.0
    standard = {name: _standard(values, means[name], deviations[name]) for name, values in components.items()}
    weights = {name: float(name == start) for name in components}
    best = quality(_sum(standard, weights))
    for _ in range(_SWEEPS):
        before = dict(weights)
        for name in components:
            for step in _STEPS:
                tried = {**weights, name: step}
                if tried == weights or not any(tried.values()):
                    continue
                found = quality(_sum(standard, tried))
                if found > best + _LEAST_GAIN:
                    best, weights = found, tried
        if weights == before:
            break
    return Blend(weights, means, deviations)


def _standard(values: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    scaled = (values - mean) / deviation if deviation > 0 else np.zeros(len(values))
    return np.where(np.isfinite(scaled), scaled, 0.0)


def _sum(standard: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    total = np.zeros(len(next(iter(standard.values()))))
    for name, weight in weights.items():
        if weight:
            total += weight * standard[name]
    return total
