"""The hybrid's two models as `PairForest`s: scores of many pairs, without a row of features for each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import lightgbm as lgb
import numpy as np
from scipy.special import expit

from pipelines.model_rows.joined_features import EncodedFeatures, JoinedFeatures
from pipelines.model_rows.pair_table import PairTable
from pipelines.rankers.best_raw import maybe_best
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.likeliest import best_of_users, can_be_bounded
from pipelines.rankers.pair_forest import PairForest

# Numbers per array that are processed at a time: five such arrays stay in the processor's cache.
PAIRS_AT_A_TIME = 65_536
# Users who are scored together however many videos there are: the videos' factors are read once for them.
_USERS_MIN = 6


@dataclass(frozen=True)
class PairRanker:
    """Classifier and regressor over joined features, as `HybridRanker` is over a matrix of rows."""

    ranker: HybridRanker
    joined: JoinedFeatures
    classifier: PairForest
    regressor: PairForest

    @classmethod
    def of(cls, ranker: HybridRanker, joined: JoinedFeatures) -> "PairRanker":
        """Read both models. Raises InputError for models that `read_trees` refuses."""
        classifier = PairForest.of(ranker.classifier, joined)
        if ranker.regressor is ranker.classifier:  # a model that is judged alone
            return cls(ranker, joined, classifier, classifier)
        return cls(ranker, joined, classifier, PairForest.of(ranker.regressor, joined))

    def with_users(
        self, users: EncodedFeatures, factors: np.ndarray, pairs: tuple[PairTable, ...] = ()
    ) -> "PairRanker":
        """The same for other users; what was evaluated for the videos is kept.

        Args:
            factors, pairs: `user_factors` and `pairs` as in `JoinedFeatures`.
        """
        joined = replace(self.joined, users=users, user_factors=factors, pairs=pairs)
        return replace(
            self,
            joined=joined,
            classifier=replace(self.classifier, joined=joined),
            regressor=replace(self.regressor, joined=joined),
        )

    def block(self, users: np.ndarray) -> "UserBlock":
        """Some users, by their positions in `joined`, with their splits evaluated."""
        leaves = self.classifier.of_users(users)
        same = self.regressor is self.classifier
        return UserBlock(self, users, leaves, leaves if same else self.regressor.of_users(users))


@dataclass(frozen=True)
class UserBlock:
    """Some users, and the leaves of each model that remain possible for them: uint64 [trees, users]."""

    ranker: PairRanker
    users: np.ndarray
    classifier_leaves: np.ndarray
    regressor_leaves: np.ndarray

    def classified(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Classify all videos for these users, block by block.

        Yields:
            Which of the users; their als_score, float32 [users, videos], NaN where unknown; and the
            probability that a play is liked, float64 [users, videos].
        """
        for part, als, raw in self.classified_raw():
            yield part, als, expit(raw)

    def classified_raw(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """As `classified`, with what `expit` makes the probability of."""
        yield from self._grids(self.ranker.classifier, self.classifier_leaves)

    def likeliest(
        self, closed: np.ndarray, keep: int
    ) -> Iterator[tuple[slice, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
        """For each of these users the videos among which the `keep` most probably liked are.

        Args:
            closed: uint8 [users, videos / 8], a bit for each video that a user may not get.

        Yields:
            Which of the users; and for each their videos, ascending, and the als_score and the classifier's
            raw score of each.
        """
        forest = self.ranker.classifier
        if can_be_bounded(forest, keep):
            yield from best_of_users(forest, self.classifier_leaves, self.users, closed, keep)
            return
        for part, als, raw in self.classified_raw():
            found = [maybe_best(scores, own, keep) for scores, own in zip(raw, closed[part], strict=True)]
            yield (
                part,
                [
                    (videos, of_user[videos], scores[videos])
                    for videos, of_user, scores in zip(found, als, raw, strict=True)
                ],
            )

    def regressed_grid(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """As `classified`, with the expected amount, float64 [users, videos], instead of the probability."""
        yield from self._grids(self.ranker.regressor, self.regressor_leaves)

    def _grids(
        self, forest: PairForest, leaves: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Block by block of these users, their als_score and a model's raw scores with all videos."""
        joined = self.ranker.joined
        step = max(_USERS_MIN, PAIRS_AT_A_TIME // len(joined.video_factors))
        for start in range(0, len(self.users), step):
            part = slice(start, min(start + step, len(self.users)))
            als = joined.als_grid(self.users[part])
            yield part, als, forest.catalogue(leaves[:, part], self.users[part], als)

    def probability(self, user: np.ndarray, video: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """The probability that a play is liked: float64 [pairs]. Arguments as for `regressed`."""
        others = self.ranker.joined.pair_values(self.users[user], video)
        probability: np.ndarray = expit(
            self.ranker.classifier.pairs(self.classifier_leaves, user, video, als_score, *others)
        )
        return probability

    def regressed(self, user: np.ndarray, video: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """The expected amount of some pairs.

        Args:
            user: int [pairs], each pair's position among these users.
            video: int [pairs], its position in `joined`.
            als_score: float32 [pairs].

        Returns:
            float64 [pairs].
        """
        others = self.ranker.joined.pair_values(self.users[user], video)
        return self.ranker.regressor.pairs(self.regressor_leaves, user, video, als_score, *others)


def scores_of_pairs(
    booster: lgb.Booster,
    joined: JoinedFeatures,
    user: np.ndarray,
    video: np.ndarray,
    als_score: np.ndarray,
    *,
    threads: int,
) -> np.ndarray:
    """A model's raw scores of any pairs.

    Args:
        user, video: int [pairs], positions in `joined`, user ascending.
        als_score: float32 [pairs].

    Returns:
        float64 [pairs].

    Raises:
        InputError: for a model that cannot be taken apart.
    """
    forest = PairForest.of(booster, joined)
    scores = np.empty(len(user))

    def score(start: int) -> None:
        part = slice(start, start + PAIRS_AT_A_TIME)
        own, index = np.unique(user[part], return_inverse=True)
        others = joined.pair_values(user[part], video[part])
        scores[part] = forest.pairs(forest.of_users(own), index, video[part], als_score[part], *others)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(score, range(0, len(user), PAIRS_AT_A_TIME)))
    return scores


def als_scores_of_pairs(joined: JoinedFeatures, user: np.ndarray, video: np.ndarray) -> np.ndarray:
    """The als_score of any pairs.

    Args:
        user, video: int [pairs], positions in `joined`, user ascending.

    Returns:
        float32 [pairs], NaN where either has no factors.
    """
    scores = np.empty(len(user), dtype=np.float32)
    known, starts = np.unique(user, return_index=True)
    for one, (start, end) in zip(known.tolist(), pairwise([*starts.tolist(), len(user)]), strict=True):
        scores[start:end] = joined.als_scores(one, video[start:end])
    return scores
