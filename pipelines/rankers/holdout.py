"""Measures a model on the holdout, and decides whether a new version replaces the champion."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import RankerNeeds
from pipelines import model_registry
from pipelines.labels import Targets
from pipelines.metrics import RankedLists, auc, ndcg_at_k
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.predicted import Predicted
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import FeatureFrame

HYBRID_NDCG = "hybrid_ndcg_at_10"


@dataclass(frozen=True)
class Holdout:
    """The plays that no model has seen.

    Attributes:
        plays: each user's first play of each video in the holdout.
        store, zone: with these, features are joined to the plays again for a model of another encoding.
        matrix, encoding: the features of all plays, and their encoding.
        rows: row numbers of these plays in the matrix.
        user_id, video_id: int64, of these plays.
        since: when the holdout begins, UTC.
        catalogue: the number of videos in the whole log.
        targets: those of all plays.
    """

    plays: pl.DataFrame
    store: FeatureStore
    zone: ZoneInfo
    matrix: FeatureMatrix
    encoding: FeatureEncoding
    rows: np.ndarray
    user_id: np.ndarray
    video_id: np.ndarray
    since: datetime
    catalogue: int
    targets: Targets

    @classmethod
    def of(cls, data: TrainingData, store: FeatureStore) -> "Holdout":
        """The holdout among joined plays."""
        part, zone = data.slices.holdout, data.matrix.zone
        pair = [columns.USER_ID, columns.VIDEO_ID]
        numbered = data.plays[part].with_row_index("row", offset=part.start)
        first = numbered.unique(pair, keep="first", maintain_order=True)
        rows, user_id, video_id = (first[name].to_numpy() for name in ("row", *pair))
        return cls(
            first.select(*pair, columns.EVENT_TIMESTAMP),
            store,
            zone,
            data.matrix,
            data.encoding,
            rows,
            user_id,
            video_id,
            data.cuts.holdout_from,
            data.plays[columns.VIDEO_ID].n_unique(),
            data.targets,
        )

    def metrics(self, ranker: HybridRanker, settings: RankerNeeds) -> dict[str, float]:
        """The hybrid's NDCG@10 over what each user watched, and how well both models predict.

        Each video is ranked as of its play. Only figures that exist are given: without a liked play there is
        neither NDCG nor AUC.
        """
        matrix, rows = self.matrix, self.rows
        if ranker.encoding != self.encoding:
            frame = FeatureFrame.join(self.store, self.plays, self.zone)
            matrix, rows = FeatureMatrix(frame, ranker.encoding), np.arange(len(self.plays))
        predicted = Predicted.of(ranker, matrix, rows)
        liked = self.targets.liked[self.rows]
        error = np.abs(predicted.regressor - self.targets.amount[self.rows])
        found = {"regressor_mean_absolute_error": float(error.mean())}
        area = auc(predicted.classifier, liked)
        if area is not None:
            found["classifier_auc"] = area
        scores = predicted.hybrid(
            self.user_id,
            self.video_id,
            filter_k=filter_size(settings.ranker, settings.lists),
            catalogue=self.catalogue,
        )
        ranked = RankedLists.of(self.user_id, self.video_id, scores, liked)
        if len(ranked.users):
            found[HYBRID_NDCG] = float(ndcg_at_k(ranked, 10).mean())
        return found


def promote_if_not_worse(version: ModelVersion, holdout: Holdout, settings: RankerNeeds) -> str:
    """Make `version` the champion unless the current one orders the holdout better; returns the reason.

    The champion's figure is computed again on this holdout. Where it cannot be compared (damaged, other
    features, or it was trained on plays of this holdout) the new version replaces it.
    """
    verdict, is_better = _compare(version, holdout, settings)
    if is_better:
        model_registry.promote(settings.paths, version)
    return verdict


def _compare(version: ModelVersion, holdout: Holdout, settings: RankerNeeds) -> tuple[str, bool]:
    try:
        champion = model_registry.champion(settings.paths)
        if champion.version == version.version:
            return "champion: the same model as before", True
        ranker = HybridRanker.load(champion.folder, threads=settings.threads)
        ranker.require_features(holdout.matrix.names)
        seen_until = champion.fitted_before
    except (InputError, KeyError, TypeError, ValueError):
        return "champion: there was none to compare with", True
    if seen_until > holdout.since:
        return f"champion: {champion.version} was trained on plays of this holdout", True
    new = _figure(version.metrics)
    old = _figure(holdout.metrics(ranker, settings))
    against = f"NDCG@10 {new:.4f} on the holdout, {champion.version} {old:.4f}"
    return (f"champion: {against}", True) if new >= old else (f"kept {champion.version}: {against}", False)


def _figure(metrics: Mapping[str, float]) -> float:
    return metrics.get(HYBRID_NDCG, 0.0)
