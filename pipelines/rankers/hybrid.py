"""The trained pair of rankers and their common order: the classifier filters, the regressor orders.

Where past data shows that als_score deserves more weight than the regressor gives it, their weighted sum
orders (`list_order`). Where it shows that the personal part of that score is mostly noise, that part counts
less (`shown_shrinkage`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np

from nightreel.core import columns
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.blend import Blend, logarithm
from pipelines.rankers.importances import Importance
from pipelines.rankers.shrinkage import Shrinkage

_ENCODING = "encoding.json"
_CLASSIFIER = "classifier.txt"
_REGRESSOR = "regressor.txt"
_ORDER = "order.json"
_SHRINKAGE = "shrinkage.json"

# The parts of the order, named like the columns of lists.
ORDERED_BY = (columns.REGRESSOR_SCORE, columns.ALS_SCORE)


@dataclass(frozen=True)
class HybridRanker:
    """Classifier and regressor over one feature matrix.

    Attributes:
        encoding: how feature values become that matrix.
        classifier: predicts the probability that a play is liked.
        regressor: predicts the clipped watch_ratio.
        threads: for prediction; 0 means all cores. Predictions do not depend on it.
        order: the weights of ORDERED_BY in the order of what the filter keeps; by default the regressor
            alone.
        shrinkage: how far that order is shrunk towards its mean over users.
    """

    encoding: FeatureEncoding
    classifier: lgb.Booster
    regressor: lgb.Booster
    threads: int = 0
    order: Blend = field(default_factory=lambda: Blend.alone(columns.REGRESSOR_SCORE))
    shrinkage: Shrinkage = field(default_factory=Shrinkage)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features of a matrix, in order."""
        return self.encoding.names

    def classify(self, matrix: np.ndarray) -> np.ndarray:
        """Probability that the play is liked: float64 [rows].

        Args:
            matrix: float32 [rows, features].
        """
        return self._predict(self.classifier, matrix)

    def regress(self, matrix: np.ndarray) -> np.ndarray:
        """Expected clipped watch_ratio: float64 [rows].

        Args:
            matrix: float32 [rows, features].
        """
        return self._predict(self.regressor, matrix)

    def ordering(self, regressor_score: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """The score by which the videos that the filter keeps are ordered, highest first.

        Args:
            regressor_score: float64 [pairs], the expected watch_ratio.
            als_score: float32 [pairs], NaN where unknown.

        Returns:
            float64 [pairs].
        """
        if self.order.only() == columns.REGRESSOR_SCORE:
            return regressor_score
        return self.order.scores(order_components(regressor_score, als_score))

    def _predict(self, booster: lgb.Booster, matrix: np.ndarray) -> np.ndarray:
        if not len(matrix):
            return np.zeros(0)
        predicted: np.ndarray = booster.predict(matrix, num_threads=self.threads)
        return predicted

    def require_features(self, names: Sequence[str]) -> None:
        """Raise InputError, naming the difference, unless `names` are the trained features in their order."""
        self.encoding.require(names)

    def importances(self) -> list[Importance]:
        """Each feature's splits and gain in both models, by the classifier's gain."""
        gains = [_gain_shares(booster) for booster in (self.classifier, self.regressor)]
        splits = [one.feature_importance("split").tolist() for one in (self.classifier, self.regressor)]
        rows = [
            Importance(
                feature=name,
                classifier_gain=gains[0][position],
                classifier_splits=splits[0][position],
                regressor_gain=gains[1][position],
                regressor_splits=splits[1][position],
            )
            for position, name in enumerate(self.feature_names)
        ]
        return sorted(rows, key=lambda row: (-row["classifier_gain"], row["feature"]))

    def save(self, folder: Path) -> None:
        """Write both models in LightGBM's text format and the encoding as JSON; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ENCODING).write_text(self.encoding.to_json(), encoding="utf-8")
        (folder / _CLASSIFIER).write_text(self.classifier.model_to_string(), encoding="utf-8")
        (folder / _REGRESSOR).write_text(self.regressor.model_to_string(), encoding="utf-8")
        (folder / _ORDER).write_text(self.order.to_json(), encoding="utf-8")
        shrinkage = json.dumps(self.shrinkage.to_dict(), indent=1)
        (folder / _SHRINKAGE).write_text(shrinkage, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> "HybridRanker":
        """Read what `save` wrote. Verify the folder first: `model_registry.champion` does."""
        ranker = cls(
            encoding=FeatureEncoding.from_json((folder / _ENCODING).read_text(encoding="utf-8")),
            classifier=lgb.Booster(model_str=(folder / _CLASSIFIER).read_text(encoding="utf-8")),
            regressor=lgb.Booster(model_str=(folder / _REGRESSOR).read_text(encoding="utf-8")),
            threads=threads,
        )
        # Models from before it was fitted have none.
        order, shrinkage = folder / _ORDER, folder / _SHRINKAGE
        if order.is_file():
            ranker = replace(ranker, order=Blend.from_json(order.read_text("utf-8")))
        if shrinkage.is_file():
            content = json.loads(shrinkage.read_text("utf-8"))
            ranker = replace(ranker, shrinkage=Shrinkage.from_dict(content))
        return ranker


def order_components(regressor_score: np.ndarray, als_score: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of an order, each on the scale on which they add up: float64 [pairs], by ORDERED_BY."""
    return {
        columns.REGRESSOR_SCORE: logarithm(regressor_score),
        columns.ALS_SCORE: als_score.astype(np.float64),
    }


def _gain_shares(booster: lgb.Booster) -> list[float]:
    gains = booster.feature_importance("gain")
    shares: list[float] = (gains / max(float(gains.sum()), 1e-300)).tolist()
    return shares
