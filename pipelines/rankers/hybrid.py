"""The trained pair of rankers, and their one order: the classifier filters, the regressor orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np

from nightreel import columns
from pipelines.metrics import Order
from pipelines.rankers.encoding import FeatureEncoding

_ENCODING = "encoding.json"
_CLASSIFIER = "classifier.txt"
_REGRESSOR = "regressor.txt"


@dataclass(frozen=True)
class HybridRanker:
    """Classifier and regressor over one feature matrix.

    encoding: how that matrix is made. classifier: probability that watch_ratio exceeds like_threshold.
    regressor: expected watch_ratio, clipped. threads: of prediction; 0 means all cores. Predictions do not
    depend on it.
    """

    encoding: FeatureEncoding
    classifier: lgb.Booster
    regressor: lgb.Booster
    threads: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features of a matrix, in order."""
        return self.encoding.names

    def classify(self, matrix: np.ndarray) -> np.ndarray:
        """Probability that the play is liked: float64 [rows]. matrix: float32 [rows, features]."""
        return self._predict(self.classifier, matrix)

    def regress(self, matrix: np.ndarray) -> np.ndarray:
        """Expected clipped watch_ratio: float64 [rows]. matrix: float32 [rows, features]."""
        return self._predict(self.regressor, matrix)

    def _predict(self, booster: lgb.Booster, matrix: np.ndarray) -> np.ndarray:
        if not len(matrix):
            return np.zeros(0)
        predicted: np.ndarray = booster.predict(matrix, num_threads=self.threads)
        return predicted

    def require_features(self, names: Sequence[str]) -> None:
        """Raise InputError, naming the difference, unless `names` are the trained features in their order."""
        self.encoding.require(names)

    def importances(self) -> list[dict[str, str | int | float]]:
        """Each feature's splits and gain (share of all) in both models, by the classifier's gain."""
        rows: list[dict[str, str | int | float]] = [{columns.FEATURE: name} for name in self.feature_names]
        for model, booster in (("classifier", self.classifier), ("regressor", self.regressor)):
            gains = booster.feature_importance("gain")
            splits = booster.feature_importance("split")
            total = max(float(gains.sum()), 1e-300)
            for row, gain, count in zip(rows, gains, splits, strict=True):
                row[f"{model}_gain"] = float(gain) / total
                row[f"{model}_splits"] = int(count)
        return sorted(rows, key=lambda row: (-float(row["classifier_gain"]), str(row[columns.FEATURE])))

    def save(self, folder: Path) -> None:
        """Write both models in LightGBM's text format and the encoding as JSON; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ENCODING).write_text(self.encoding.to_json(), encoding="utf-8")
        (folder / _CLASSIFIER).write_text(self.classifier.model_to_string(), encoding="utf-8")
        (folder / _REGRESSOR).write_text(self.regressor.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> "HybridRanker":
        """Read what `save` wrote. Verify the folder first: `model_registry.champion` does."""
        return cls(
            encoding=FeatureEncoding.from_json((folder / _ENCODING).read_text(encoding="utf-8")),
            classifier=lgb.Booster(model_str=(folder / _CLASSIFIER).read_text(encoding="utf-8")),
            regressor=lgb.Booster(model_str=(folder / _REGRESSOR).read_text(encoding="utf-8")),
            threads=threads,
        )


def hybrid_order(
    classifier_score: np.ndarray, regressor_score: np.ndarray, video_id: np.ndarray, filter_k: int
) -> np.ndarray:
    """Positions of one user's candidates in the hybrid's order, best first: int64 [candidates].

    The filter_k most probable by the classifier come first, ordered by the regressor; the others follow in
    the classifier's order. All ties go to the smaller video_id.
    """
    by_classifier = np.lexsort((video_id, -classifier_score))
    kept, rest = by_classifier[:filter_k], by_classifier[filter_k:]
    ordered = kept[np.lexsort((video_id[kept], -regressor_score[kept]))]
    return np.concatenate([ordered, rest])


def hybrid_scores(
    user_id: np.ndarray,
    video_id: np.ndarray,
    classifier_score: np.ndarray,
    regressor_score: np.ndarray,
    *,
    filter_k: int,
    catalogue: int,
) -> np.ndarray:
    """Scores that order the pairs of many users as `hybrid_order` orders one user's: float64 [pairs].

    All arrays have one entry a pair, in any order. catalogue: the number of videos; of a user with pairs for
    only a part of them, the filter keeps the same share, rounded up.
    """
    order = Order.of(user_id, video_id, classifier_score)
    places = np.empty(len(user_id), dtype=np.int64)
    places[order.rows] = np.arange(len(order.rows))
    kept = np.ceil(order.lengths * filter_k / catalogue).astype(np.int64)
    for start, end in zip(
        order.starts[:-1], np.minimum(order.starts[:-1] + kept, order.starts[1:]), strict=True
    ):
        rows = order.rows[start:end]
        places[rows[np.lexsort((video_id[rows], -regressor_score[rows]))]] = np.arange(start, end)
    return -places.astype(np.float64)
