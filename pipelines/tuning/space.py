"""Which settings are tuned, and between which limits."""

from collections.abc import Mapping
from dataclasses import dataclass

import optuna

from nightreel.core.settings.needs import HomeNeeds

FILTER_K = "ranker.filter_k"
Values = Mapping[str, int | float]


@dataclass(frozen=True)
class Searched:
    """The limits of one setting.

    Attributes:
        log: whether its logarithm is drawn evenly, not the value.
    """

    low: int | float
    high: int | float
    log: bool = True

    def suggest(self, trial: optuna.Trial, name: str) -> int | float:
        """The trial's value; an integer if the limits are integers."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(trial.suggest_int(name, self.low, self.high, log=self.log))
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return float(f"{drawn:.3g}")


SPACE: Mapping[str, Searched] = {
    "ranker.lightgbm.learning_rate": Searched(0.02, 0.3),
    "ranker.regressor.learning_rate": Searched(0.02, 0.3),
    "ranker.lightgbm.num_leaves": Searched(15, 64),
    "ranker.lightgbm.min_data_in_leaf": Searched(20, 2_000),
    "ranker.lightgbm.feature_fraction": Searched(0.2, 0.8, log=False),
    "ranker.lightgbm.lambda_l2": Searched(0.01, 100.0),
}
"""`[ranker] filter_k` is not among them: a trial's scores show its best value at once (see `objective`)."""


def as_set(settings: HomeNeeds) -> dict[str, int | float]:
    """The values in force, moved into the limits: what a study tries first."""
    return {
        name: min(max(settings.value(name), searched.low), searched.high) for name, searched in SPACE.items()
    }


def suggested(trial: optuna.Trial) -> dict[str, int | float]:
    """The values of a trial."""
    return {name: searched.suggest(trial, name) for name, searched in SPACE.items()}
