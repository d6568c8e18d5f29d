"""One night's training: its start, its budget, and the day that judges it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from nightreel.core.instants import DAY_US
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.past import Past
from pipelines.retrieval.sequence.batches import Batches
from pipelines.retrieval.sequence.earlier import EarlierNight
from pipelines.retrieval.sequence.items import ItemFacts
from pipelines.retrieval.sequence.popularity import Popularity
from pipelines.retrieval.sequence.start import initial
from pipelines.retrieval.sequence.stop_day import StopDay, liked_before
from pipelines.retrieval.sequence.timelines import Timelines
from pipelines.retrieval.sequence.training import Budget, ndcg_of, train
from pipelines.retrieval.sources import PLAYS_MAX

# The budgets of a training from scratch and of one from an earlier night.
FULL = Budget(steps=2_000, epochs=200, warm_up=50, every=50, patience=3)
WARM = Budget(steps=300, epochs=20, warm_up=10, every=25, patience=2)
# Weights of a video's log popularity and of the user's taste that are tried at the start of training.
_STARTS = ((1.0, 0.25), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0), (0.5, 2.0), (0.25, 2.0))
# The same if training continues, relative to the learnt taste and blocks: popularity is more useful on some
# days than on others.
_CONTINUED = ((1.0, 1.0), (1.0, 0.5), (1.0, 0.25))
# A fresh start must be better by more than a stop day's chance.
_AS_GOOD = 0.9


@dataclass(frozen=True)
class TrainedNight:
    """The trained transformer of a night.

    Attributes:
        curve: as in `Trained`. popularity: NDCG@10 of the best list for all. stop_day: the day of both.
        popular: float32 [videos], the liked plays of that list.
        is_warm: whether training began from an earlier night.
    """

    params: Mapping[str, np.ndarray]
    curve: np.ndarray
    popularity: float
    popular: np.ndarray
    stop_day: str
    is_warm: bool


def trained_night(
    past: Past, items: ItemFacts, earlier: EarlierNight | None, settings: SourceNeeds
) -> TrainedNight:
    """Train on the plays before the stop day, and stop by it."""
    videos, seed = len(items.video_id), settings.seed
    plays = Timelines.of(past, np.searchsorted(items.video_id, past.video_id))
    stop = StopDay.of(past, plays, seed, new_only=settings.lists.exclude.is_new_only)
    popularity, half_life = stop.popularity(plays, videos)

    def log_popular(borders: np.ndarray, until_us: int) -> np.ndarray:
        found: np.ndarray = np.log1p(liked_before(plays, borders, until_us, half_life, videos))
        return found.astype(np.float32)

    begins_us = int(stop.instant_us.min()) if len(stop.users) else past.cutoff_us
    then = log_popular(stop.borders, begins_us)
    fresh = initial(items, _liked(past, plays, stop, videos, seed), seed)

    def judged(one: Mapping[str, np.ndarray]) -> float:
        return ndcg_of(one, plays, items, stop, then)

    params, is_warm = _start(fresh, None if earlier is None else earlier.continued(fresh, items), judged)
    # The earlier night did not learn from its own stop day, so that is new, too; the latest day judges
    # tonight.
    since_us = earlier.cutoff_us - DAY_US if earlier is not None and is_warm else None
    known = Popularity.of(plays, stop.borders, past.cutoff_us, half_life, videos)
    batches = Batches(plays, stop.borders, known, seed, since_us)
    budget = WARM if is_warm else FULL
    trained = train(
        params, plays, items, batches=batches, stop=stop, log_popular=then, budget=budget, seed=seed
    )
    # Popularity up to the cutoff is known.
    now = log_popular(plays.starts[1:], past.cutoff_us)
    return TrainedNight(trained.params, trained.curve, popularity, np.expm1(now), stop.name, is_warm)


def _start(
    fresh: Mapping[str, np.ndarray],
    learnt: Mapping[str, np.ndarray] | None,
    judged: Callable[[Mapping[str, np.ndarray]], float],
) -> tuple[Mapping[str, np.ndarray], bool]:
    """The parameters from which training starts, and whether they are an earlier night's."""

    def best_of(starts: list[Mapping[str, np.ndarray]]) -> tuple[Mapping[str, np.ndarray], float]:
        found = [judged(one) for one in starts]
        return starts[int(np.argmax(found))], max(found)

    begun, quality = best_of(
        [_counting(fresh, of_popularity, {"taste_sure": of_taste}) for of_popularity, of_taste in _STARTS]
    )
    if learnt is None:
        return begun, False
    others = [
        _counting(learnt, of_popularity, {"taste_sure": of_user, "norm_last": of_user})
        for of_popularity, of_user in _CONTINUED
    ]
    warm, warm_quality = best_of([learnt, *others])
    # A log may change so much that an earlier night's parameters are worse than a fresh start.
    return (warm, True) if warm_quality >= _AS_GOOD * quality else (begun, False)


def _counting(
    params: Mapping[str, np.ndarray], popularity: float, factors: Mapping[str, float]
) -> Mapping[str, np.ndarray]:
    """The parameters with another weight of popularity, and with some of them multiplied by a factor."""
    changed = {name: np.float32(factor) * params[name] for name, factor in factors.items()}
    return {**params, **changed, "of_popularity": np.array(popularity, dtype=np.float32)}


def _liked(past: Past, plays: Timelines, stop: StopDay, videos: int, seed: int) -> csr_matrix:
    """1 for each user and video liked before the stop day; if there are many plays, of some users only."""
    user = np.repeat(np.arange(len(past.user_id)), np.diff(plays.starts))[plays.likes]
    kept = plays.likes < stop.borders[user]
    if len(past) > PLAYS_MAX:
        some = np.unique(past.of_some_users(PLAYS_MAX, seed).user)
        kept &= np.isin(user, some)
    pairs = (np.ones(int(kept.sum()), dtype=np.float32), (user[kept], plays.video[plays.likes[kept]]))
    found = csr_matrix(pairs, (len(past.user_id), videos))
    found.data[:] = 1.0
    return found
