"""Every user's list: ALS for all candidates, the classifier keeps the likeliest, the regressor orders."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nightreel import columns
from nightreel.settings import Settings
from pipelines.rankers import HybridRanker
from scoring.candidates import Candidates, first_within_caps
from scoring.lists import HYBRID, POPULAR, REWATCH, Lists
from scoring.sides import Sides

_PAIRS_AT_A_TIME = 262_144


@dataclass(frozen=True)
class Stages:
    """Each stage's score of one user's pairs: als_score and classifier for all videos, regressor for `kept`.

    kept: places of the videos that the classifier has kept, ascending. All scores are float64.
    """

    als: np.ndarray
    classifier: np.ndarray
    kept: np.ndarray
    regressor: np.ndarray


def score_users(
    candidates: Candidates, sides: Sides, ranker: HybridRanker, settings: Settings
) -> Iterator[Lists]:
    """The lists of all users, in order of their ids, some users at a time.

    Users without history get the best received videos (`popular`). For the others the hybrid orders what they
    have not seen, and for those who have seen everything what they have (`rewatch`); `score` is then the
    regressor's. Ties go to the smaller video_id; what a cap has no room for is passed over. Memory is that of
    one block of pairs, whatever the users.
    """
    popular = _popular(candidates, sides, settings.top_k)
    # The filter never leaves a list short of candidates.
    keep = max(settings.filter_k, settings.top_k)
    block_users = max(1, min(settings.user_block_rows, _PAIRS_AT_A_TIME // len(candidates.video_id)))
    pairs = _PairBlock(sides, block_users, _Rough(settings.rough_trees, settings.rough_k))
    for start in range(0, len(candidates.user_id), block_users):
        users = np.arange(start, min(start + block_users, len(candidates.user_id)))
        warm = users[candidates.has_history[users]]
        lists = dict.fromkeys(users[~candidates.has_history[users]].tolist(), popular)
        open_to, rewatch = candidates.open_to(warm), candidates.rewatch(warm)
        stages = pairs.score(warm, open_to, ranker, keep)
        for place, (user, scored) in enumerate(zip(warm.tolist(), stages, strict=True)):
            source = REWATCH if rewatch[place] else HYBRID
            found = _ordered(candidates, scored, settings.top_k, source)
            if len(found.video_id) < settings.top_k and len(scored.kept) < open_to[place].sum():
                # The caps have no room for enough of the filter's choice: the regressor orders all.
                everything = pairs.with_all(place, scored, open_to[place], ranker)
                found = _ordered(candidates, everything, settings.top_k, source)
            lists[user] = found
        yield Lists.concatenate(lists[user].of(candidates.user_id[user]) for user in users.tolist())


@dataclass(frozen=True)
class _Rough:
    """A first look at a large catalogue: only its `keep` best by the classifier's first `trees` get a second.

    The trees that a boosted model begins with carry most of what it knows. Measured at KuaiRec's size (10,728
    videos, 240 trees): benchmarks/first_look.py.
    """

    trees: int
    keep: int


class _PairBlock:
    """A reused block of pairs, users x all videos: the videos' features stay, the users' come and go."""

    def __init__(self, sides: Sides, users: int, rough: _Rough) -> None:
        self._sides = sides
        self._rough = rough
        videos = len(sides.videos.values)
        self._pairs = np.empty((users, videos, len(sides.names)), dtype=np.float32)
        sides.videos.write(slice(None), self._pairs)
        for place, value in sides.constants.items():
            self._pairs[..., place] = value

    def score(
        self, users: np.ndarray, open_to: np.ndarray, ranker: HybridRanker, keep: int
    ) -> Iterator[Stages]:
        """Each user's stages. users: places of at most as many users as there is room for."""
        pairs = self._pairs[: len(users)]
        self._sides.users.write(users, pairs.transpose(1, 0, 2))
        for place, user in enumerate(users):
            pairs[place, :, self._sides.als_place] = self._sides.als_scores(user)
        rows = pairs.reshape(-1, pairs.shape[2])
        probability, looked_at = self._classified(rows, open_to, ranker, max(keep, self._rough.keep))
        kept = _most_probable_of_each(probability, looked_at, keep)
        regressed = ranker.regress(rows[_places_in_block(kept, pairs.shape[1])])
        start = 0
        for place, videos in enumerate(kept):
            als = pairs[place, :, self._sides.als_place].astype(np.float64)
            yield Stages(als, probability[place], videos, regressed[start : start + len(videos)])
            start += len(videos)

    def _classified(
        self, rows: np.ndarray, open_to: np.ndarray, ranker: HybridRanker, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of a block's pairs, float64 [users, videos], and for which of them they are exact."""
        trees = self._rough.trees
        if open_to.sum(axis=1).max(initial=0) <= keep or ranker.classifier.num_trees() <= trees:
            return ranker.classify(rows).reshape(open_to.shape), open_to
        probability = ranker.classify(rows, first_trees=trees).reshape(open_to.shape)
        likely = _places_in_block(_most_probable_of_each(probability, open_to, keep), open_to.shape[1])
        probability.reshape(-1)[likely] = ranker.classify(rows[likely])
        looked_at = np.zeros_like(open_to)
        looked_at.reshape(-1)[likely] = True
        return probability, looked_at

    def with_all(self, place: int, stages: Stages, open_to: np.ndarray, ranker: HybridRanker) -> Stages:
        """The same of one user of the block scored last, as if the filter had kept every open video."""
        videos = np.flatnonzero(open_to)
        pairs = self._pairs[place]
        return replace(
            stages, classifier=ranker.classify(pairs), kept=videos, regressor=ranker.regress(pairs[videos])
        )


def _most_probable_of_each(probability: np.ndarray, open_to: np.ndarray, keep: int) -> list[np.ndarray]:
    """`most_probable` of each user: both arrays are [users, videos]."""
    return [most_probable(*of_user, keep) for of_user in zip(probability, open_to, strict=True)]


def _places_in_block(videos: list[np.ndarray], width: int) -> np.ndarray:
    """Rows, in a block of users x `width` videos, of each user's videos."""
    of_users = np.repeat(np.arange(len(videos)), [len(places) for places in videos])
    rows: np.ndarray = of_users * width + np.concatenate([*videos, np.zeros(0, dtype=np.int64)])
    return rows


def most_probable(probability: np.ndarray, open_to: np.ndarray, keep: int) -> np.ndarray:
    """Places of the `keep` largest probabilities among the open videos, ascending; ties go to the first.

    probability: float64 [videos], finite. open_to: bool [videos]. Same as sorting all of them, but in time
    linear in the videos.
    """
    places = np.flatnonzero(open_to)
    if len(places) <= keep:
        return places
    values = probability[places]
    least = np.partition(values, len(values) - keep)[len(values) - keep]
    above = values > least
    ties = np.flatnonzero(values == least)[: keep - int(above.sum())]
    above[ties] = True
    kept: np.ndarray = places[above]
    return kept


@dataclass(frozen=True)
class _List:
    """One list, of no user yet; all arrays as in Lists."""

    video_id: np.ndarray
    score: np.ndarray
    classifier_score: np.ndarray
    regressor_score: np.ndarray
    als_score: np.ndarray
    source: str

    def of(self, user_id: int) -> Lists:
        rows = len(self.video_id)
        return Lists(
            np.full(rows, user_id, dtype=np.int64),
            np.arange(1, rows + 1, dtype=np.int32),
            self.video_id,
            self.score,
            self.classifier_score,
            self.regressor_score,
            self.als_score,
            np.full(rows, self.source),
        )


def _ordered(candidates: Candidates, stages: Stages, k: int, source: str) -> _List:
    # `kept` ascends, and so do ids: a stable sort leaves ties to the smaller video_id.
    order = stages.kept[np.argsort(-stages.regressor, kind="stable")]
    videos = first_within_caps(order, candidates.caps, k)
    score = stages.regressor[np.searchsorted(stages.kept, videos)]
    return _List(
        candidates.video_id[videos], score, stages.classifier[videos], score, stages.als[videos], source
    )


def _popular(candidates: Candidates, sides: Sides, k: int) -> _List:
    """The videos by smoothed share of well received plays, then by views; one never played counts as 0.

    `score` is that share; no stage scores these rows.
    """
    share = np.nan_to_num(sides.video_feature(columns.VIDEO_AGG_LIKED_SHARE).astype(np.float64))
    views = np.nan_to_num(sides.video_feature(columns.VIDEO_AGG_VIEWS))
    best = np.lexsort((candidates.video_id, -views, -share))
    order = first_within_caps(best, candidates.caps, k)
    none = np.full(len(order), np.nan)
    return _List(candidates.video_id[order], share[order], none, none, none, POPULAR)
