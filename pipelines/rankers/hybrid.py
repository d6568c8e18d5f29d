"""The trained pair of rankers, and their one order: the classifier filters, the regressor orders.

Where the log itself shows that als_score deserves more than the regressor gives it, their weighted sum
orders: `list_order` has how.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np

from nightreel import columns
from pipelines.metrics import Order
from pipelines.rankers.blend import Blend, logarithm
from pipelines.rankers.encoding import FeatureEncoding

_ENCODING = "encoding.json"
_CLASSIFIER = "classifier.txt"
_REGRESSOR = "regressor.txt"
_ORDER = "order.json"

# The parts of the order, by the names that the lists' columns have.
ORDERED_BY = (columns.REGRESSOR_SCORE, columns.ALS_SCORE)


@dataclass(frozen=True)
class HybridRanker:
    """Classifier and regressor over one feature matrix.

    encoding: how that matrix is made. classifier: probability that watch_ratio exceeds like_threshold.
    regressor: expected watch_ratio, clipped. threads: of prediction; 0 means all cores. Predictions do not
    depend on it. order: of what the filter keeps, over ORDERED_BY; the regressor alone unless it was fitted.
    """

    encoding: FeatureEncoding
    classifier: lgb.Booster
    regressor: lgb.Booster
    threads: int = 0
    order: Blend = field(default_factory=lambda: Blend.alone(columns.REGRESSOR_SCORE))

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

    def ordering(self, regressor_score: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """What orders the videos that the filter keeps, highest first: float64 [pairs].

        Both of the same pairs: an expected amount, and als_score, NaN where it is not known.
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
        (folder / _ORDER).write_text(self.order.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> "HybridRanker":
        """Read what `save` wrote. Verify the folder first: `model_registry.champion` does."""
        ranker = cls(
            encoding=FeatureEncoding.from_json((folder / _ENCODING).read_text(encoding="utf-8")),
            classifier=lgb.Booster(model_str=(folder / _CLASSIFIER).read_text(encoding="utf-8")),
            regressor=lgb.Booster(model_str=(folder / _REGRESSOR).read_text(encoding="utf-8")),
            threads=threads,
        )
        order = folder / _ORDER
        # Models of before there was one to fit have none.
        return replace(ranker, order=Blend.from_json(order.read_text("utf-8"))) if order.is_file() else ranker


def order_components(regressor_score: np.ndarray, als_score: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of an order, each on the scale on which they add up: float64 [pairs], by ORDERED_BY."""
    return {
        columns.REGRESSOR_SCORE: logarithm(regressor_score),
        columns.ALS_SCORE: als_score.astype(np.float64),
    }


def best_places(
    values: np.ndarray,
    among: np.ndarray,
    most: int,
    tie_break: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Places of the `most` largest values among some videos, ascending.

    values: float [videos], finite where asked for. among: bool [videos]. tie_break: given the places that tie
    for the last of the room, what decides between them, highest first; ties that it leaves, or all of them
    without it, go to the first. Same as sorting all of them, but in time linear in the videos.
    """
    places = np.flatnonzero(among)
    if most < 1 or len(places) <= most:
        return places[:most]
    of_places = values[places]
    least = np.partition(of_places, len(places) - most)[len(places) - most]
    above = of_places > least
    tied, room = np.flatnonzero(of_places == least), most - int(above.sum())
    if tie_break is not None and len(tied) > room:
        tied = tied[np.argsort(-tie_break(places[tied]), kind="stable")]
    above[tied[:room]] = True
    found: np.ndarray = places[above]
    return found


def hybrid_order(
    classifier_score: np.ndarray, ordering: np.ndarray, video_id: np.ndarray, filter_k: int
) -> np.ndarray:
    """Positions of one user's candidates in the hybrid's order, best first: int64 [candidates].

    The filter_k most probable by the classifier come first, the highest of `HybridRanker.ordering` leading;
    the others follow in the classifier's order. Where the classifier ties, the ordering decides: a classifier
    that knows nothing would keep the smallest ids. What then still ties goes to the smaller video_id.
    """
    by_classifier = np.lexsort((video_id, -ordering, -classifier_score))
    kept, rest = by_classifier[:filter_k], by_classifier[filter_k:]
    ordered = kept[np.lexsort((video_id[kept], -ordering[kept]))]
    return np.concatenate([ordered, rest])


def hybrid_scores(
    user_id: np.ndarray,
    video_id: np.ndarray,
    classifier_score: np.ndarray,
    ordering: np.ndarray,
    *,
    filter_k: int,
    catalogue: int,
) -> np.ndarray:
    """Scores that order the pairs of many users as `hybrid_order` orders one user's: float64 [pairs].

    All arrays have one entry a pair, in any order. catalogue: the number of videos; of a user with pairs for
    only a part of them, the filter keeps the same share, rounded up.
    """
    order = Order.of(user_id, video_id, classifier_score, ordering)
    places = np.empty(len(user_id), dtype=np.int64)
    places[order.rows] = np.arange(len(order.rows))
    kept = np.ceil(order.lengths * filter_k / catalogue).astype(np.int64)
    for start, end in zip(
        order.starts[:-1], np.minimum(order.starts[:-1] + kept, order.starts[1:]), strict=True
    ):
        rows = order.rows[start:end]
        places[rows[np.lexsort((video_id[rows], -ordering[rows]))]] = np.arange(start, end)
    return -places.astype(np.float64)
