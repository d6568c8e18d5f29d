"""Every user's list: ALS for all candidates, the classifier keeps the likeliest, the regressor orders.

What orders is `HybridRanker.ordering`: the regressor alone, unless training found it better helped.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nightreel import columns
from nightreel.settings import Settings
from pipelines.rankers import HybridRanker
from pipelines.rankers.hybrid import best_places
from pipelines.rankers.pair_ranker import PairRanker, UserBlock
from pipelines.rankers.sides import Sides
from scoring.candidates import Candidates, first_within_caps
from scoring.lists import HYBRID, POPULAR, REWATCH, Lists
from scoring.retrieval import Retrieval, best_received


@dataclass(frozen=True)
class Stages:
    """Each stage's score of one user's pairs: als_score and classifier for all videos, regressor for `kept`.

    kept: places of the videos that the classifier has kept, ascending. als is float32, the others float64.
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
    have not seen, and for those who have seen everything what they have (`rewatch`); `score` is then what
    orders. Ties go to the smaller video_id; what a cap has no room for is passed over. Every pair goes
    through all trees. Memory is that of a block of users for each thread, whatever the users; neither blocks
    nor threads change a list.
    """
    return score_with(candidates, PairRanker.of(ranker, sides), settings)


def score_with(candidates: Candidates, ranker: PairRanker, settings: Settings) -> Iterator[Lists]:
    """The same by a ranker that has been taken apart already, over the same users and videos."""
    scoring = _Scoring(
        candidates,
        ranker,
        _popular(candidates, ranker.sides, settings.top_k),
        Retrieval.of(candidates, ranker.sides, settings),
        settings,
    )
    starts = iter(range(0, len(candidates.user_id), settings.user_block_rows))
    with ThreadPoolExecutor(settings.threads) as pool:
        waiting: deque[Future[Lists]] = deque()
        # One block more than there are threads: none of them waits while lists are written.
        for start in starts:
            waiting.append(pool.submit(scoring.block, start))
            if len(waiting) > settings.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class _Scoring:
    """What the lists of every block of users are made with."""

    candidates: Candidates
    ranker: PairRanker
    popular: "_List"
    retrieval: Retrieval | None
    settings: Settings

    def block(self, start: int) -> Lists:
        """The lists of the users from place `start` on."""
        candidates = self.candidates
        users = np.arange(start, min(start + self.settings.user_block_rows, len(candidates.user_id)))
        has_history = candidates.has_history[users]
        lists = dict.fromkeys(users[~has_history].tolist(), self.popular)
        warm = users[has_history]
        if len(warm):
            lists |= zip(warm.tolist(), self._ordered_lists(self.ranker.block(warm)), strict=True)
        return Lists.concatenate(lists[user].of(candidates.user_id[user]) for user in users.tolist())

    def _ordered_lists(self, block: UserBlock) -> Iterator["_List"]:
        """The hybrid's list of each user of a block."""
        top_k = self.settings.top_k
        # The filter never leaves a list short of candidates.
        keep = max(self.settings.filter_k, top_k)
        for part, als, probability, scored, open_to in self._classified(block):
            rewatch = self.candidates.rewatch(block.users[part])
            kept = [best_places(*of_user, keep) for of_user in zip(probability, scored, strict=True)]
            regressed = self._regressed(block, part.start, als, kept)
            for place, stages in enumerate(map(Stages, als, probability, kept, regressed)):
                source = REWATCH if rewatch[place] else HYBRID
                found = self._ordered(stages, source)
                if len(found.video_id) < top_k and len(stages.kept) < open_to[place].sum():
                    # The caps have no room for enough of the filter's choice: the regressor orders all.
                    every = np.flatnonzero(open_to[place])
                    first, of_user = part.start + place, als[place : place + 1]
                    (scores,) = self._regressed(block, first, of_user, [every])
                    (likely,) = self._of_pairs(block.probability, first, of_user, [every])
                    classifier = stages.classifier.copy()
                    classifier[every] = likely
                    found = self._ordered(Stages(stages.als, classifier, every, scores), source)
                yield found

    def _ordered(self, stages: Stages, source: str) -> "_List":
        candidates, kept = self.candidates, stages.kept
        ordering = self.ranker.ranker.ordering(stages.regressor, stages.als[kept])
        # `kept` ascends, and so do ids: a stable sort leaves ties to the smaller video_id.
        order = kept[np.argsort(-ordering, kind="stable")]
        videos = first_within_caps(order, candidates.caps, self.settings.top_k)
        places = np.searchsorted(kept, videos)
        return _List(
            candidates.video_id[videos],
            ordering[places],
            stages.classifier[videos],
            stages.regressor[places],
            stages.als[videos].astype(np.float64),
            source,
        )

    def _classified(
        self, block: UserBlock
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """As of UserBlock.classified, with which pairs the probability is known of, and which are open.

        Both are bool [users, videos]; they are the same where every video is scored.
        """
        if self.retrieval is None:
            for part, als, probability in block.classified():
                open_to = self.candidates.open_to(block.users[part])
                yield part, als, probability, open_to, open_to
            return
        for place, user in enumerate(block.users.tolist()):
            part = slice(place, place + 1)
            als = block.ranker.sides.als_scores(user)[None]
            open_to = self.candidates.open_to(block.users[part])
            videos = self.retrieval.of_user(open_to[0], als[0])
            scored = np.zeros_like(open_to)
            scored[0, videos] = True
            probability = np.zeros(open_to.shape)
            (probability[0, videos],) = self._of_pairs(block.probability, place, als, [videos])
            yield part, als, probability, scored, open_to

    def _regressed(
        self, block: UserBlock, first: int, als: np.ndarray, videos: list[np.ndarray]
    ) -> list[np.ndarray]:
        return self._of_pairs(block.regressed, first, als, videos)

    def _of_pairs(
        self,
        score: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        first: int,
        als: np.ndarray,
        videos: list[np.ndarray],
    ) -> list[np.ndarray]:
        """A model's scores of these videos for users of a block, from place `first` on."""
        user = np.repeat(np.arange(len(videos)), [len(places) for places in videos])
        video = np.concatenate(videos)
        scores = score(first + user, video, als[user, video])
        return np.split(scores, np.cumsum([len(places) for places in videos])[:-1])


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


def _popular(candidates: Candidates, sides: Sides, k: int) -> _List:
    """The best received videos; `score` is their smoothed share, and no stage scores these rows."""
    share = np.nan_to_num(sides.video_feature(columns.VIDEO_AGG_LIKED_SHARE).astype(np.float64))
    order = first_within_caps(best_received(candidates, sides), candidates.caps, k)
    none = np.full(len(order), np.nan)
    return _List(candidates.video_id[order], share[order], none, none, none, POPULAR)
