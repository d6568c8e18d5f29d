"""The hybrid of objective `next_day`: what will a user like tomorrow, out of all videos?

Classifier, regressor and LambdaMART over the candidates of past nights, and the order that ranks best: the
classifier keeps `filter_k` of them, and the weighted sum of scores in a `Blend` orders these.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import lightgbm as lgb
import numpy as np
from scipy.special import expit

from nightreel.core.errors import InputError
from pipelines.rankers.blend import Blend
from pipelines.rankers.row_forest import RowForest
from pipelines.rankers.shrinkage import Shrinkage
from pipelines.retrieval.registry import PERSONAL

CLASSIFIER, REGRESSOR, LAMBDAMART, SOURCES = "classifier", "regressor", "lambdamart", "sources"
HISTORY_PLAYS = "history_plays"
_MODELS = (CLASSIFIER, REGRESSOR, LAMBDAMART)


@dataclass(frozen=True)
class NextDayRanker:
    """The trained models of objective `next_day` and the order that they give together.

    Attributes:
        names: the features of a row of `model_rows.night`, in order.
        models: by name, the classifier among them.
        order: the weights of the models in the order of what the filter keeps.
        shrinkage: how far that order is shrunk towards its mean over users.
        left_out: sources in the settings that are not used, because past nights ranked better without them.
    """

    names: tuple[str, ...]
    models: dict[str, lgb.Booster]
    order: Blend
    shrinkage: Shrinkage = field(default_factory=Shrinkage)
    left_out: tuple[str, ...] = ()

    def require_features(self, names: tuple[str, ...]) -> None:
        """Raise InputError unless a night's rows have the features that this was trained on."""
        if names != self.names:
            changed = ", ".join(sorted(set(names) ^ set(self.names))) or "order"
            raise InputError(
                f"The model's features differ from today's settings: {changed}.",
                "Run `nightreel train`, or set [retrieval] sources as they were.",
            )

    @property
    def deciding(self) -> dict[str, lgb.Booster]:
        """The models that a list depends on: the classifier, and those that count in the order."""
        return {
            name: model
            for name, model in self.models.items()
            if name == CLASSIFIER or self.order.weights.get(name)
        }

    def raw(self, model: str, features: np.ndarray) -> np.ndarray:
        """A model's raw scores: float64 [rows].

        Args:
            features: float32 [rows, features].
        """
        return self._forests[model].raw(features)

    @cached_property
    def _forests(self) -> dict[str, RowForest]:
        return {name: RowForest.of(model) for name, model in self.models.items()}

    def probability(self, features: np.ndarray) -> np.ndarray:
        """The probability that the video is liked on the next day: float64 [rows]."""
        found: np.ndarray = expit(self.raw(CLASSIFIER, features))
        return found

    def ordering(self, features: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """The score by which the rows that the filter keeps are ordered, highest first.

        Args:
            features: float32 [rows, features].
            probability: float64 [rows], from `probability`.

        Returns:
            float64 [rows].
        """
        components = {CLASSIFIER: np.log(probability / (1.0 - probability))}
        # A model with weight 0 is not evaluated.
        for name in (REGRESSOR, LAMBDAMART):
            if self.order.weights.get(name):
                components[name] = self.raw(name, features)
        components[SOURCES] = mean_of_sources(self.names, features)
        return self.order.scores(components)

    def means_over_users(
        self, parts: Iterable[tuple[np.ndarray, np.ndarray]], videos: int
    ) -> np.ndarray | None:
        """The mean over some users of the score that orders each video.

        Args:
            parts: positions of the videos of these users' candidates, and their features, block by block.
            videos: how many the catalogue has.

        Returns:
            float64 [videos], NaN where unknown; None where no score is shrunk.
        """
        if self.shrinkage.changes_nothing:
            return None
        total, count = np.zeros((2, videos))
        for video, features in parts:
            ordering = self.ordering(features, self.probability(features))
            total += np.bincount(video, ordering, minlength=videos)
            count += np.bincount(video, minlength=videos)
        found: np.ndarray = np.divide(total, count, out=np.full(videos, np.nan), where=count > 0)
        return found

    def shrunk(self, ordering: np.ndarray, common: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The scores of `ordering` with their personal part shrunk; `common` is as in `Shrinkage.applied`."""
        plays = features[:, self.names.index(HISTORY_PLAYS)].astype(np.float64)
        return self.shrinkage.applied(ordering, common, plays)

    def save(self, folder: Path, prefix: str) -> None:
        """Write the models in LightGBM's text format, names and order as JSON; nothing is pickled."""
        for name, model in self.models.items():
            (folder / f"{prefix}_{name}.txt").write_text(model.model_to_string(), encoding="utf-8")
        content = {
            "features": self.names,
            "order": json.loads(self.order.to_json()),
            "shrinkage": self.shrinkage.to_dict(),
            "left_out": self.left_out,
        }
        (folder / f"{prefix}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, prefix: str) -> "NextDayRanker":
        """Read what `save` wrote."""
        content = json.loads((folder / f"{prefix}.json").read_text(encoding="utf-8"))
        models = {
            name: lgb.Booster(model_str=(folder / f"{prefix}_{name}.txt").read_text(encoding="utf-8"))
            for name in _MODELS
        }
        shrinkage = Shrinkage.from_dict(content.get("shrinkage"))
        left_out = tuple(content.get("left_out", ()))
        return cls(tuple(content["features"]), models, Blend(**content["order"]), shrinkage, left_out)


def mean_of_sources(names: tuple[str, ...], features: np.ndarray) -> np.ndarray:
    """The mean standardised score of the sources that know the user: float64 [rows]."""
    used = [names.index(name) for name in PERSONAL if name in names]
    found = np.zeros(len(features))
    for column in used:
        found += features[:, column]
    return found / max(len(used), 1)
