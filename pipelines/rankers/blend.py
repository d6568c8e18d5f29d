"""A weighted sum of several scores, its weights chosen on plays or pairs that no model has learnt from.

Each score is brought to a common scale first: probabilities and shares as log-odds, counts and amounts as
logarithms, all of them standardised. Weights are searched one at a time.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

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

    @classmethod
    def alone(cls, name: str) -> "Blend":
        """One score, and no other."""
        return cls({name: 1.0}, {name: 0.0}, {name: 1.0})

    def only(self) -> str | None:
        """The one score that counts; None where several do."""
        counting = [name for name, weight in self.weights.items() if weight]
        return counting[0] if len(counting) == 1 else None

    def scores(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """The blended score of each pair: float64 [pairs]."""
        first = next(iter(components.values()))
        total = np.zeros(len(first))
        for name, weight in self.weights.items():
            if weight:
                total += weight * _standard(components[name], self.means[name], self.deviations[name])
        return total

    def to_json(self) -> str:
        """As text, to the last bit."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Blend":
        """What `to_json` gave."""
        return cls(**json.loads(text))


def tuned_blend(
    components: Mapping[str, np.ndarray],
    start: str,
    quality: Callable[[np.ndarray], np.ndarray],
    *,
    standard_errors: float = 0.0,
) -> Blend:
    """Search the weights with the highest mean quality, beginning with `start` alone.

    components: a score a pair, on its scale. quality: of an array of scores, float64 [users]; larger is
    better. Weights change for a gain that matters only, and that is more than so many standard errors of the
    users' paired differences; so the same input gives the same, plain blend.
    """
    means, deviations = {}, {}
    for name, values in components.items():
        known = values[np.isfinite(values)]
        means[name] = float(known.mean()) if len(known) else 0.0
        deviations[name] = float(known.std()) if len(known) else 0.0
    standard = {name: _standard(values, means[name], deviations[name]) for name, values in components.items()}
    weights = {name: float(name == start) for name in components}
    best = quality(_sum(standard, weights))
    if not len(best):
        return Blend(weights, means, deviations)
    for _ in range(_SWEEPS):
        before = dict(weights)
        for name in components:
            others = ({**weights, name: step} for step in _STEPS if step != weights[name])
            found = [(quality(_sum(standard, tried)), tried) for tried in others if any(tried.values())]
            better = [one for one in found if _is_better(one[0] - best, standard_errors)]
            if better:
                best, weights = max(better, key=lambda one: float(one[0].mean()))
        if weights == before:
            break
    return Blend(weights, means, deviations)


def _is_better(gains: np.ndarray, standard_errors: float) -> bool:
    error = float(gains.std()) / np.sqrt(len(gains))
    return bool(gains.mean() > max(_LEAST_GAIN, standard_errors * error))


def _standard(values: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    scaled = (values - mean) / deviation if deviation > 0 else np.zeros(len(values))
    return np.where(np.isfinite(scaled), scaled, 0.0)


def _sum(standard: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    total = np.zeros(len(next(iter(standard.values()))))
    for name, weight in weights.items():
        if weight:
            total += weight * standard[name]
    return total
