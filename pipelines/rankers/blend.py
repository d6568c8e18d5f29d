"""A weighted sum of scores, with weights chosen on plays or pairs that no model has learnt from.

Each score is brought to a common scale first: probabilities and shares as log-odds, counts and amounts as
logarithms, all of them standardised. Weights are searched one at a time.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

_STEPS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_SWEEPS = 2
_LEAST = 1e-6
_LEAST_GAIN = 5e-4  # of quality: a smaller gain may be chance, and fewer scores are easier to explain


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
    """The weight of each score, once it is on its scale and standardised; an unknown score counts 0."""

    weights: Mapping[str, float]
    means: Mapping[str, float]
    deviations: Mapping[str, float]

    @classmethod
    def alone(cls, name: str) -> "Blend":
        """A blend of one score only."""
        return cls({name: 1.0}, {name: 0.0}, {name: 1.0})

    def only(self) -> str | None:
        """The one score that counts; None where several do."""
        counting = [name for name, weight in self.weights.items() if weight]
        return counting[0] if len(counting) == 1 else None

    @classmethod
    def scales(cls, components: Mapping[str, np.ndarray]) -> "Blend":
        """The mean and the deviation of each score, none of which counts yet."""
        known = {name: values[np.isfinite(values)] for name, values in components.items()}
        return cls(
            dict.fromkeys(components, 0.0),
            {name: float(values.mean()) if len(values) else 0.0 for name, values in known.items()},
            {name: float(values.std()) if len(values) else 0.0 for name, values in known.items()},
        )

    def standardised(self, name: str, values: np.ndarray) -> np.ndarray:
        """A score minus its mean, divided by its deviation; 0 where it is unknown: float64 [pairs]."""
        deviation = self.deviations[name]
        scaled = (values - self.means[name]) / deviation if deviation > 0 else np.zeros(len(values))
        return np.where(np.isfinite(scaled), scaled, 0.0)

    def scores(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """The blended score of each pair: float64 [pairs]."""
        standard = {
            name: self.standardised(name, components[name]) for name, weight in self.weights.items() if weight
        }
        return _sum(standard, self.weights)

    def to_json(self) -> str:
        """As text, to the last bit."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Blend":
        """What `to_json` gave."""
        return cls(**json.loads(text))


def tuned_blend(
    components: Mapping[str, np.ndarray],
    start: Collection[str],
    quality: Callable[[np.ndarray], float],
    *,
    least_gain: float = _LEAST_GAIN,
) -> Blend:
    """Search for the weights with the highest quality, starting from the plain sum of the scores in `start`.

    A weight changes only for a gain above `least_gain`, which keeps blends simple and reproducible.

    Args:
        components: by name, float64 [pairs] each, already on a common scale.
        quality: rates an array of blended scores; larger is better.
    """
    scales = Blend.scales(components)
    standard = {name: scales.standardised(name, values) for name, values in components.items()}
    weights = {name: float(name in start) for name in components}
    best = quality(_sum(standard, weights))
    for _ in range(_SWEEPS):
        before = dict(weights)
        for name in components:
            for step in _STEPS:
                tried = {**weights, name: step}
                if tried == weights or not any(tried.values()):
                    continue
                found = quality(_sum(standard, tried))
                if found > best + least_gain:
                    best, weights = found, tried
        if weights == before:
            break
    return replace(scales, weights=weights)


def _sum(standard: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    total: np.ndarray = np.zeros(len(next(iter(standard.values()))))
    for name, weight in weights.items():
        if weight:
            total += weight * standard[name]
    return total
