"""From a trial to figures: every metric of every system at every k, with its interval over users."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from nightreel.core.memory import give_back_memory
from nightreel.core.settings.needs import RankerNeeds
from pipelines.evaluate.slices import pair_families, user_families
from pipelines.evaluate.system_names import CLASSIFIER, HYBRID, REGRESSOR
from pipelines.evaluate.trials import Trial
from pipelines.labels import Label, labels_of
from pipelines.metrics import (
    Bootstrap,
    Order,
    Outcome,
    RankedLists,
    ascending_ranks,
    auc_of_users,
    aucs,
    average_precision_at_k,
    brier_score,
    category_diversity,
    coverage,
    exposures,
    gini,
    graded_ndcg_at_k,
    hit_rate_at_k,
    mean_absolute_error,
    means_of_first,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
    reliability,
    repeats,
    root_mean_square_error,
)
from pipelines.uploads import FRESH_DAYS

CUTOFFS = (10, 20, 50, 100, 200, 500, 1000)
SLICE_CUTOFFS = (10, 100)
ANY_LABEL = "any"  # the label of figures that do not depend on what was liked
ALL = "all"  # the slice of all users and pairs
VERSUS_HYBRID = "_minus_hybrid"
METRICS: dict[str, Callable[[RankedLists, int], np.ndarray]] = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "ndcg_graded": graded_ndcg_at_k,
    "map": average_precision_at_k,
    "mrr": reciprocal_rank_at_k,
    "hit_rate": hit_rate_at_k,
}
_COMPARED = ("precision", "recall", "ndcg", "ndcg_graded", "map")
_IN_SLICES = ("precision", "recall", "ndcg")


@dataclass(frozen=True)
class Figure:
    """One number of the evaluation: a mean over users, with its 95 % bootstrap interval.

    k, low and high are None where the metric has none.

    Attributes:
        users: the number of users in the mean.
    """

    protocol: str
    label: str
    system: str
    metric: str
    k: int | None
    slice: str
    value: float
    low: float | None
    high: float | None
    users: int


@dataclass
class _Columns:
    """Values of a system to be averaged over users: float64 [users] each, NaN where a user has none."""

    keys: list[tuple[str, str, int | None, str]] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def add(self, label: str, metric: str, k: int | None, part: str, values: np.ndarray) -> None:
        self.keys.append((label, metric, k, part))
        self.values.append(values)


class Measuring:
    """Measures systems on one trial; what does not depend on the system is computed once."""

    def __init__(self, trial: Trial, settings: RankerNeeds) -> None:
        self._trial = trial
        self._settings = settings
        self._users = len(trial.users)
        _, starts = np.unique(trial.user_id, return_index=True)
        rows = np.arange(len(trial.user_id))
        # As the trial has them: user after user.
        self._pairs = Order(trial.users, np.append(starts, len(rows)), rows)
        self._bootstrap = Bootstrap.of(max(self._users, 1), seed=settings.seed)
        self._depth = CUTOFFS[-1]
        self._outcomes = {
            label: Outcome.of_groups(self._pairs, targets.liked, targets.amount, self._depth)
            for label, targets in trial.targets.items()
        }
        self._user_families = user_families(trial)
        self._pair_families = []
        for family in pair_families(trial):
            parts = self._pairs.parts(family.codes)
            outcomes = {
                label: Outcome.of_groups(parts, targets.liked, None, SLICE_CUTOFFS[-1])
                for label, targets in trial.targets.items()
            }
            self._pair_families.append((family, outcomes))
        self._hybrid: dict[tuple[str, str, int | None, str], np.ndarray] = {}

    def figures(self) -> Iterator[list[Figure]]:
        """Every figure of each system, the hybrid's first: the others are compared with it."""
        if not self._users:
            return
        with ThreadPoolExecutor(self._settings.threads) as pool:
            hybrid = pool.submit(self._of_system, HYBRID)
            others = [
                pool.submit(self._of_system, system, hybrid)
                for system in self._trial.scores
                if system != HYBRID
            ]
            for measured in (hybrid, *others):
                yield measured.result()
                give_back_memory()  # a system's orders take some hundred megabytes

    def _of_system(self, system: str, hybrid: Future[list[Figure]] | None = None) -> list[Figure]:
        """A system's figures.

        Args:
            hybrid: the hybrid's, which come first; None for the hybrid itself.
        """
        trial = self._trial
        scores = trial.scores[system]
        order = self._pairs.by_score(scores)
        ranks = ascending_ranks(order, scores)
        found = _Columns()
        for label in labels_of(self._settings.data):
            self._accuracy(found, label, order)
            areas = auc_of_users(order, ranks, trial.targets[label].liked)
            found.add(label, "gauc", None, ALL, areas)
        first = order.first(min(self._depth, int(order.lengths.max())))
        self._beyond_accuracy(found, first)
        self._in_slices(found, order, first)
        if hybrid is not None:
            hybrid.result()
        self._against_hybrid(found, system)
        return [
            *self._means(system, found),
            *self._of_catalogue(system, first),
            *self._pooled(system, scores),
        ]

    def _accuracy(self, found: _Columns, label: Label, order: Order) -> None:
        lists = RankedLists.ordered(order, self._outcomes[label])
        for metric, of in METRICS.items():
            for k in CUTOFFS:
                values = self._spread(lists.users, of(lists, k))
                found.add(label, metric, k, ALL, values)
                if metric in _IN_SLICES and k in SLICE_CUTOFFS:
                    for family in self._user_families:
                        for code, name in enumerate(family.names):
                            found.add(label, metric, k, name, np.where(family.codes == code, values, np.nan))

    def _beyond_accuracy(self, found: _Columns, first: np.ndarray) -> None:
        """Properties of lists that do not depend on outcomes."""
        trial = self._trial
        videos = trial.videos
        listed = np.where(first >= 0, trial.video[first], -1)
        fresh = np.where(np.isnan(videos.age_days), np.nan, videos.age_days < FRESH_DAYS)
        for metric, values in (
            ("novelty", means_of_first(listed, videos.novelty, CUTOFFS)),
            ("popularity_percentile", means_of_first(listed, videos.popularity, CUTOFFS)),
            ("mean_length_s", means_of_first(listed, videos.length_s, CUTOFFS)),
            ("fresh_share", means_of_first(listed, fresh, CUTOFFS)),
            ("category_diversity", category_diversity(listed, videos.category, CUTOFFS)),
        ):
            for position, k in enumerate(CUTOFFS):
                found.add(ANY_LABEL, metric, k, ALL, values[:, position])
        lengths = (first >= 0).sum(axis=1)
        repeated = repeats(listed, listed.shape[1])
        for k in CUTOFFS:
            found.add(ANY_LABEL, "short_list", k, ALL, (lengths < k).astype(np.float64))
            # If whole lists repeat nothing, neither do their beginnings.
            again = repeats(listed, k) if repeated.any() else repeated
            found.add(ANY_LABEL, "repeats", k, ALL, again.astype(np.float64))

    def _in_slices(self, found: _Columns, order: Order, first: np.ndarray) -> None:
        """Rankings of a slice's pairs alone, and the slice's share of the positions in whole lists."""
        for family, outcomes in self._pair_families:
            parts = order.parts(family.codes)
            for label, outcome in outcomes.items():
                lists = RankedLists.ordered(parts, outcome)
                for metric in _IN_SLICES:
                    for k in SLICE_CUTOFFS:
                        table = np.full(len(family.names) * self._users, np.nan)
                        table[lists.users] = METRICS[metric](lists, k)
                        for name, values in zip(family.names, table.reshape(-1, self._users), strict=True):
                            found.add(label, metric, k, name, values)
            for k in SLICE_CUTOFFS:
                codes = np.where(first[:, :k] >= 0, family.codes[first[:, :k]], -1)
                sizes = np.maximum((first[:, :k] >= 0).sum(axis=1), 1)
                for code, name in enumerate(family.names):
                    if (family.codes == code).any():
                        found.add(ANY_LABEL, "share_of_list", k, name, (codes == code).sum(axis=1) / sizes)

    def _against_hybrid(self, found: _Columns, system: str) -> None:
        """The same users' differences to the hybrid; their interval shows whether chance explains them."""
        if system == HYBRID:
            self._hybrid = dict(zip(found.keys, found.values, strict=True))
            return
        for (label, metric, k, part), values in list(zip(found.keys, found.values, strict=True)):
            if metric in _COMPARED and part == ALL:
                difference = values - self._hybrid[label, metric, k, part]
                found.add(label, metric + VERSUS_HYBRID, k, ALL, difference)

    def _means(self, system: str, found: _Columns) -> Iterator[Figure]:
        table = np.column_stack(found.values)
        counts = (~np.isnan(table)).sum(axis=0)
        kept = np.flatnonzero(counts)
        table, counts = table[:, kept], counts[kept]
        means = np.nansum(table, axis=0) / counts
        intervals = self._bootstrap.intervals(table).T.tolist()
        for position, mean, users, (low, high) in zip(
            kept.tolist(), means.tolist(), counts.tolist(), intervals, strict=True
        ):
            label, metric, k, part = found.keys[position]
            yield Figure(self._trial.protocol, label, system, metric, k, part, mean, low, high, users)

    def _of_catalogue(self, system: str, first: np.ndarray) -> Iterator[Figure]:
        """How much of the catalogue all lists together show."""
        listed = np.where(first >= 0, self._trial.video[first], -1)
        for k in CUTOFFS:
            exposure = exposures(listed, len(self._trial.videos.video_id), k)
            for metric, value in (("coverage", coverage(exposure)), ("gini", gini(exposure))):
                yield self._single(ANY_LABEL, system, metric, value, k=k)

    def _pooled(self, system: str, scores: np.ndarray) -> Iterator[Figure]:
        """AUC of all pairs together, and how far the models' own predictions are off."""
        # The hybrid's scores are ranks in a user's list: they do not compare between users.
        if system != HYBRID:
            labels = labels_of(self._settings.data)
            areas = aucs(scores, [self._trial.targets[label].liked for label in labels])
            for label, area in zip(labels, areas, strict=True):
                if area is not None:
                    yield self._single(label, system, "auc", area)
        targets = self._trial.targets[self._settings.data.targets.label]
        own = self._settings.data.targets.label
        if system == CLASSIFIER:
            found = reliability(scores, targets.liked)
            yield self._single(own, system, "expected_calibration_error", found.expected_error)
            yield self._single(own, system, "brier", brier_score(scores, targets.liked))
            bins = len(found.pairs)
            for position in np.flatnonzero(found.pairs).tolist():
                part = f"probability: {position / bins:.1f} to {(position + 1) / bins:.1f}"
                for metric, value in (
                    ("reliability_predicted", found.predicted[position]),
                    ("reliability_observed", found.observed[position]),
                    ("reliability_share_of_pairs", found.pairs[position] / found.pairs.sum()),
                ):
                    yield self._single(own, system, metric, float(value), part=part)
        if system == REGRESSOR:
            yield self._single(own, system, "mae", mean_absolute_error(scores, targets.amount))
            yield self._single(own, system, "rmse", root_mean_square_error(scores, targets.amount))

    def _single(
        self, label: str, system: str, metric: str, value: float, *, k: int | None = None, part: str = ALL
    ) -> Figure:
        return Figure(self._trial.protocol, label, system, metric, k, part, value, None, None, self._users)

    def _spread(self, users: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values of some users as an array of all, NaN for the others."""
        table = np.full(self._users, np.nan)
        table[np.searchsorted(self._trial.users, users)] = values
        return table
