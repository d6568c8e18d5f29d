"""The quality of a trial: the hybrid's NDCG for the validation users, who are in no report.

The join and the bins are made once and shared by all trials of a study. A trial fits on the same plays as
`nightreel train`. It is measured on the fully observed pairs of the validation users or, without such pairs,
on what these users watched in the holdout. Outcomes of the other users' pairs are not even kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.logs import progress
from nightreel.core.settings.needs import RankerNeeds
from pipelines.evaluate.protocols import Pairs, holdout_from, impression_pairs, kuairec_pairs
from pipelines.labels import targets
from pipelines.local_days import INSTANT
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.binning import Binning, Part
from pipelines.rankers.boosting import (
    common_parameters,
    fitted_rows,
    grow_rankers,
    number_of_parts,
    validation_rows,
)
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.list_order import PastLists, with_fitted_order
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.predicted import Predicted
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import FeatureFrame

MEASURED_AT = (10, 100)
_FILTERS = (50, 100, 200, 500, 1_000)


@dataclass(frozen=True)
class Measured:
    """The result of a trial: the mean of NDCG@10 and @100 with the best filter_k, and each of the two."""

    quality: float
    filter_k: int
    ndcg: Mapping[int, float]
    classifier_trees: int
    regressor_trees: int


@dataclass(frozen=True)
class Objective:
    """A study's binned plays, and the pairs of the validation users.

    Attributes:
        protocol: of the pairs.
        rows: user_id and video_id of the pairs.
        liked: bool [pairs].
        catalogue: the number of videos that a user's pairs are drawn from.
    """

    settings: RankerNeeds
    data: TrainingData
    parts: tuple[Part, ...]
    stop: Part
    lists: PastLists | None
    protocol: str
    rows: pl.DataFrame
    matrix: FeatureMatrix
    liked: np.ndarray
    catalogue: int

    @classmethod
    def prepare(cls, settings: RankerNeeds) -> "Objective":
        """Join the features and bin the plays.

        Raises:
            InputError: if no validation user liked anything.
        """
        store = open_store()
        data = TrainingData.join(store, settings)
        fitted = fitted_rows(data.slices)
        binning = Binning(
            data.matrix, fitted, data.video_id, data.encoding, common_parameters(settings, len(fitted))
        )
        number = number_of_parts(settings.ranker, len(fitted))
        with progress("binning", total=number) as advance:
            parts = []
            for part in binning.parts(fitted, number):
                parts.append(part)
                advance()
        pairs = _pairs(settings)
        rows = pairs.rows.filter(pl.Series(pairs.is_tuning(settings.evaluation, settings.seed)))
        ratio, length = (rows[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
        liked = targets(settings.data.targets.label, data.buckets, ratio, length, settings.data).liked
        if not liked.any():
            raise InputError(
                "No validation user has a liked video.",
                "Raise [evaluation] tuning_share, lower [data.targets] like_threshold, or ingest more.",
            )
        keys = rows.select(columns.USER_ID, columns.VIDEO_ID)
        asked = keys.with_columns(pl.lit(pairs.as_of, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP))
        frame = FeatureFrame.join(store, asked, settings.data.zone)
        return cls(
            settings,
            data,
            tuple(parts),
            binning.part(validation_rows(data.slices)),
            PastLists.of(data, store, settings),
            pairs.protocol,
            keys,
            FeatureMatrix(frame, data.encoding),
            liked,
            pairs.catalogue,
        )

    def measure(self, values: Mapping[str, int | float], title: str) -> Measured:
        """Fit with these settings, and rank the pairs.

        Args:
            title: of the progress bar.
        """
        settings = self.settings.changed(dict(values))
        ranker = grow_rankers(
            self.parts,
            parts=len(self.parts),
            stop=self.stop,
            targets=self.data.targets,
            fit=self.data.slices.fit,
            parameters=common_parameters(settings, len(fitted_rows(self.data.slices))),
            encoding=self.data.encoding,
            settings=settings.ranker,
            threads=settings.threads,
            title=title,
        )
        return self.measure_ranker(with_fitted_order(ranker, self.lists))

    def measure_ranker(self, ranker: HybridRanker) -> Measured:
        """Rank the pairs with every filter_k that is tried; the best one counts."""
        predicted = Predicted.of(ranker, self.matrix, np.arange(len(self.matrix)))
        user, video = (self.rows[name].to_numpy() for name in (columns.USER_ID, columns.VIDEO_ID))
        outcome = Outcome.of(user, self.liked, None, max(MEASURED_AT))
        found: dict[int, dict[int, float]] = {}
        own = filter_size(self.settings.ranker, self.settings.lists)
        tried = {filter_size(self.settings.ranker, self.settings.lists, k) for k in _FILTERS}
        for filter_k in sorted({k for k in tried if k < self.catalogue} | {own}):
            scores = predicted.hybrid(user, video, filter_k=filter_k, catalogue=self.catalogue)
            lists = RankedLists.ordered(Order.of(user, video, scores), outcome)
            found[filter_k] = {k: float(ndcg_at_k(lists, k).mean()) for k in MEASURED_AT}
        best = max(found, key=lambda k: (np.mean([*found[k].values()]), k == own, -k))
        return Measured(
            float(np.mean([*found[best].values()])),
            best,
            found[best],
            ranker.classifier.num_trees(),
            ranker.regressor.num_trees(),
        )


def _pairs(settings: RankerNeeds) -> Pairs:
    if settings.paths.table("fully_observed").is_file():
        return kuairec_pairs(settings)
    return impression_pairs(holdout_from(settings), settings)
