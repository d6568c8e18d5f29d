"""The figures of protocol `next_day`: each system's lists against what was played, per day and pooled."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings.needs import RankerNeeds
from pipelines.backtest_files import HYBRID
from pipelines.evaluate.figures import ALL, VERSUS_HYBRID, Figure
from pipelines.evaluate.next_day import ANY_PLAY, NEXT_DAY, JudgedDay, NextDay
from pipelines.labels import labels_of
from pipelines.metrics import (
    Bootstrap,
    Outcome,
    RankedLists,
    average_precision_at_k,
    coverage,
    gini,
    hit_rate_at_k,
    interval_of_draws,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    weighted_average_precision_at_k,
    weighted_hit_rate_at_k,
    weighted_ndcg_at_k,
    weighted_precision_at_k,
    weighted_recall_at_k,
)
from pipelines.retrieval.past import ids_and_codes

METRICS: dict[str, Callable[[RankedLists, int], np.ndarray]] = {
    "recall": recall_at_k,
    "precision": precision_at_k,
    "hit_rate": hit_rate_at_k,
    "ndcg": ndcg_at_k,
    "map": average_precision_at_k,
    "recall_ips": weighted_recall_at_k,
    "precision_ips": weighted_precision_at_k,
    "hit_rate_ips": weighted_hit_rate_at_k,
    "ndcg_ips": weighted_ndcg_at_k,
    "map_ips": weighted_average_precision_at_k,
}
MICRO_RECALL: str = "micro_recall"
MICRO_RECALL_IPS: str = "micro_recall_ips"
_Key = tuple[str, str, int, str]  # label, metric, k, slice


@dataclass
class _Sums:
    """Columns of a system: each figure is the sum of one over users, divided by that of another.

    Attributes:
        above, below: float64 [users] each, numerator and denominator of the average, by label and slice.
    """

    keys: list[_Key] = field(default_factory=list)
    above: list[np.ndarray] = field(default_factory=list)
    below: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, key: _Key, above: np.ndarray, over: str) -> None:
        self.keys.append(key)
        self.above.append(above)
        self.below.append((over, key[0], key[3]))


class NextDayMeasuring:
    """Measures the lists of every system; what does not depend on the system is computed once."""

    def __init__(self, found: NextDay, settings: RankerNeeds) -> None:
        self._found = found
        self._settings = settings
        relevant = [judged.relevant[columns.USER_ID] for judged in found.days]
        self._users = pl.concat(relevant).unique().sort().to_numpy()
        self._labels = (*labels_of(settings.data), ANY_PLAY)
        self._cutoffs = found.cutoffs
        self._hybrid: tuple[np.ndarray, np.ndarray] | None = None

    def figures(self) -> Iterator[list[Figure]]:
        """Every figure of each system, the published lists' first: the others are compared with them."""
        systems = self._found.systems
        if not len(self._users):
            for system in systems:
                lists = (self._found.lists(self._settings, judged, system) for judged in self._found.days)
                shown = [self._shown(*of_day) for of_day in zip(self._found.days, lists, strict=True)]
                yield list(self._of_catalogue(system, shown))
            return
        yield self._of_system(HYBRID)
        others = [system for system in systems if system != HYBRID]
        with ThreadPoolExecutor(self._settings.threads) as pool:
            yield from pool.map(self._of_system, others)

    @cached_property
    def _bootstrap(self) -> Bootstrap:
        return Bootstrap.of(len(self._users), seed=self._settings.seed)

    @cached_property
    def _denominators(self) -> dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]:
        """What figures are divided by: of each user, and in each draw."""
        found: dict[tuple[str, str, str], np.ndarray] = {}
        for label in self._labels:
            for judged in self._found.days:
                rows = judged.of_label(label)
                user = np.searchsorted(self._users, rows[columns.USER_ID].to_numpy())
                counts = np.bincount(user, minlength=len(self._users)).astype(np.float64)
                weights = np.bincount(user, rows["weight"].to_numpy(), minlength=len(self._users))
                for over, values in (("pairs", counts), ("weights", weights)):
                    found[over, label, judged.slice] = values
                    found[over, label, ALL] = found.get((over, label, ALL), 0.0) + values
                found["users", label, judged.slice] = (counts > 0).astype(np.float64)
            found["users", label, ALL] = (found["pairs", label, ALL] > 0).astype(np.float64)
        draws = self._bootstrap.sums(np.column_stack(list(found.values())))
        return {key: (values, draws[:, n]) for n, (key, values) in enumerate(found.items())}

    @cached_property
    def _days_of_users(self) -> dict[str, np.ndarray]:
        """On how many days each user has a relevant video, at least 1, by label: float64 [users]."""
        return {
            label: np.maximum(
                sum(self._denominators["users", label, judged.slice][0] for judged in self._found.days), 1.0
            )
            for label in self._labels
        }

    @cached_property
    def _relevant(self) -> dict[tuple[str, str], tuple[np.ndarray, Outcome]]:
        """By day and label: the positions of users with a relevant video, and what lists should hold."""
        found = {}
        for judged in self._found.days:
            for label in self._labels:
                rows = judged.of_label(label)
                users, user = np.unique(rows[columns.USER_ID].to_numpy(), return_inverse=True)
                outcome = Outcome.of_relevant(users, user, rows["weight"].to_numpy(), self._cutoffs[-1])
                found[judged.slice, label] = np.searchsorted(self._users, users), outcome
        return found

    def _of_system(self, system: str) -> list[Figure]:
        sums = _Sums()
        pooled: dict[tuple[str, str, int, str], np.ndarray] = {}
        shown = []
        for judged in self._found.days:
            lists = self._found.lists(self._settings, judged, system)
            shown.append(self._shown(judged, lists))
            lists = lists.filter(pl.col("rank") <= self._cutoffs[-1])
            hits = lists.join(judged.relevant, on=[columns.USER_ID, columns.VIDEO_ID], how="inner")
            for label in self._labels:
                for (metric, k, over), values in self._of_day(judged, hits, label):
                    sums.add((label, metric, k, judged.slice), values, over)
                    key = (label, metric, k, over)
                    pooled[key] = pooled.get(key, 0.0) + values
        for (label, metric, k, over), values in pooled.items():
            # Each user counts once, however many days they have; each pair counts once anyway.
            mean = values / self._days_of_users[label] if over == "users" else values
            sums.add((label, metric, k, ALL), mean, over)
        return [*self._means(system, sums), *self._of_catalogue(system, shown)]

    def _of_day(
        self, judged: JudgedDay, hits: pl.DataFrame, label: str
    ) -> Iterator[tuple[tuple[str, int, str], np.ndarray]]:
        """A day's values of all users, 0 for those without a relevant video, and what they are divided by."""
        at, relevant = self._relevant[judged.slice, label]
        of_label = hits if label == ANY_PLAY else hits.filter(pl.col(label))
        of_label = of_label.sort(columns.USER_ID, "rank")
        hit_user = np.searchsorted(relevant.users, of_label[columns.USER_ID].to_numpy())
        rank, weight = of_label["rank"].to_numpy() - 1, of_label["weight"].to_numpy()
        lists = RankedLists.of_relevant(relevant, (hit_user, rank, weight))

        def spread(values: np.ndarray) -> np.ndarray:
            table = np.zeros(len(self._users))
            table[at] = values
            return table

        for k in self._cutoffs:
            for metric, of in METRICS.items():
                yield (metric, k, "users"), spread(of(lists, k))
            yield (MICRO_RECALL, k, "pairs"), spread(lists.hits(k))
            yield (MICRO_RECALL_IPS, k, "weights"), spread(lists.gains_of_hits(k))

    def _means(self, system: str, sums: _Sums) -> Iterator[Figure]:
        table = np.column_stack(sums.above)
        below = [self._denominators[key] for key in sums.below]
        totals = np.array([values.sum() for values, _ in below])
        users = [int((values > 0).sum()) for values, _ in below]
        divided = np.column_stack([draws for _, draws in below])
        drawn = self._bootstrap.sums(table)
        # A draw may hold nobody who has a relevant video.
        draws = np.divide(drawn, divided, out=np.full(drawn.shape, np.nan), where=divided > 0)
        means = np.divide(table.sum(axis=0), totals, out=np.full(len(totals), np.nan), where=totals > 0)
        yield from _figures(system, sums.keys, (means, draws), users)
        if system == HYBRID:
            self._hybrid = (means, draws)
        elif self._hybrid is not None:
            at = [n for n, key in enumerate(sums.keys) if key[3] == ALL]
            differences = ((means - self._hybrid[0])[at], draws[:, at] - self._hybrid[1][:, at])
            keys = [(label, metric + VERSUS_HYBRID, k, part) for label, metric, k, part in sums.keys]
            yield from _figures(system, [keys[n] for n in at], differences, [users[n] for n in at])

    def _shown(self, judged: JudgedDay, lists: pl.DataFrame) -> list[tuple[str, int, float]]:
        """What all lists of a day together show of the catalogue: metric, k and value."""
        rank = lists["rank"].to_numpy()
        _, video = ids_and_codes(lists[columns.VIDEO_ID].to_numpy())
        found = []
        for k in self._cutoffs:
            # Videos that are on no list have the last numbers.
            exposure = np.bincount(video[rank <= k], minlength=judged.day.videos)
            found += [("coverage", k, coverage(exposure)), ("gini", k, gini(exposure))]
        return found

    def _of_catalogue(self, system: str, shown: Sequence[list[tuple[str, int, float]]]) -> Iterator[Figure]:
        """The figures of `_shown` of each day; pooled: the mean over days."""
        of_days: dict[tuple[str, int], list[float]] = {}
        users = [max(judged.day.users, 1) for judged in self._found.days]
        for judged, of_day, own in zip(self._found.days, shown, users, strict=True):
            for metric, k, value in of_day:
                of_days.setdefault((metric, k), []).append(value)
                yield Figure(NEXT_DAY, ANY_PLAY, system, metric, k, judged.slice, value, None, None, own)
        for (metric, k), values in of_days.items():
            mean = float(np.mean(values))
            yield Figure(NEXT_DAY, ANY_PLAY, system, metric, k, ALL, mean, None, None, max(users))


def all_figures(found: NextDay, settings: RankerNeeds) -> Iterator[list[Figure]]:
    """Every figure of each system; a system with lists of only some users is measured on these alone."""
    yield from NextDayMeasuring(found, settings).figures()
    sampled = found.of_sampled(settings)
    if sampled is not None:
        figures = NextDayMeasuring(sampled, settings).figures()
        next(figures)  # of the published lists over these users, which the others are compared with
        yield from figures


def _figures(
    system: str, keys: list[_Key], values: tuple[np.ndarray, np.ndarray], users: list[int]
) -> Iterator[Figure]:
    """Figures with their intervals.

    Args:
        values: the means, float64 [columns], and those of each draw, float64 [resamples, columns].
    """
    means, draws = values
    intervals = interval_of_draws(draws).T.tolist()
    for (label, metric, k, part), mean, (low, high), count in zip(
        keys, means.tolist(), intervals, users, strict=True
    ):
        if count:
            yield Figure(NEXT_DAY, label, system, metric, k, part, mean, low, high, count)
