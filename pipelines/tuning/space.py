"""Which settings are tuned, and between which limits."""

from collections.abc import Mapping
from dataclasses import dataclass

import optuna

from nightreel.core.settings import Settings

Values = Mapping[str, int | float]


@dataclass(frozen=True)
class Searched:
    """The limits of one setting; log: its logarithm is drawn evenly."""

    low: int | float
    high: int | float
    log: bool = True

    def suggest(self, trial: optuna.Trial, name: str) -> int | float:
        """The trial's value: a whole number where the limits are."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(trial.suggest_int(name, self.low, self.high, log=self.log))
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return float(f"{drawn:.3g}")


SPACE: Mapping[str, Searched] = {
    "learning_rate": Searched(0.02, 0.3),
    "regressor_learning_rate": Searched(0.02, 0.3),
    "leaves": Searched(15, 64),
    "min_leaf_plays": Searched(20, 2_000),
    "tree_features": Searched(0.2, 0.8, log=False),
    "leaf_regularization": Searched(0.01, 100.0),
    "category_plays": Searched(30.0, 3_000.0),
}
"""`filter_k` is not among them: the scores of a trial tell its best value at once (see `objective`)."""


def as_set(settings: Settings) -> dict[str, int | float]:
    """The values in force, moved into the limits: what a study tries first."""
    return {
        name: min(max(getattr(settings, name), searched.low), searched.high)
        for name, searched in SPACE.items()
    }


def suggested(trial: optuna.Trial) -> dict[str, int | float]:
    """The values of a trial."""
    return {name: searched.suggest(trial, name) for name, searched in SPACE.items()}
