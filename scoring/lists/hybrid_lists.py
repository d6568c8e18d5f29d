"""The lists of a block of users by the hybrid: filtered, ordered, and cut to the caps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import expit

from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.ordering import best_positions, in_turn
from pipelines.rankers.common_order import means_over_users
from pipelines.rankers.filtering import filter_size, hybrid_order
from pipelines.rankers.pair_ranker import PAIRS_AT_A_TIME, PairRanker, UserBlock
from scoring.lists.averaged import averaged_users
from scoring.lists.candidates import Candidates, OpenVideos, first_within_caps
from scoring.lists.one_list import OneList
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import HYBRID, REWATCH, Lists, joined_names
from scoring.lists.stages import Filtered, Stages
from scoring.lists.trace import Trace


@dataclass(frozen=True)
class HybridLists:
    """The inputs that the lists of all blocks of users share.

    Attributes:
        plays: float64 [users], the length of each one's history.
        common: as `common_order` gives it.
    """

    candidates: Candidates
    ranker: PairRanker
    popular: "OneList"
    received: np.ndarray
    retrieval: Retrieval | None
    settings: RankerNeeds
    plays: np.ndarray
    common: np.ndarray | None = None

    def means_over_users(self) -> np.ndarray | None:
        """`common`, over some users with a history, chosen by a hash of their ids."""
        if self.ranker.ranker.shrinkage.changes_nothing:
            return None
        users = averaged_users(self.candidates, self.settings.seed)
        if self.retrieval is None:
            return means_over_users(self.ranker, users, self.settings.threads)
        total, count = np.zeros((2, len(self.candidates.video_id)))
        for user in users.tolist():
            pairs = self._retrieved(self.retrieval, user)
            (regressed,) = self._of_pairs(self.ranker.block(np.array([user])).regressed, 0, [pairs])
            videos, als, _ = pairs
            total[videos] += self.ranker.ranker.ordering(regressed, als)
            count[videos] += 1
        found: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return found

    def block(self, users: np.ndarray) -> Lists:
        """The lists of the users with these indices, ascending."""
        candidates = self.candidates
        has_history = candidates.has_history[users]
        lists = dict.fromkeys(users[~has_history].tolist(), self.popular)
        warm = users[has_history]
        if len(warm):
            lists |= zip(warm.tolist(), self._ordered_lists(self.ranker.block(warm)), strict=True)
        return Lists.concatenate(lists[user].of(candidates.user_id[user]) for user in users.tolist())

    def trace(self, user: int) -> Trace:
        """How the list of one user comes about."""
        block = self.ranker.block(np.array([user]))
        ((_, (filtered,)),) = self._filtered(block)
        (regressed,) = self._of_pairs(block.regressed, 0, [filtered])
        every = self._all_stages(block, 0, self.candidates.open_videos(user))
        retrieved = every.videos if self.retrieval is None else self._retrieved(self.retrieval, user)[0]
        at = np.searchsorted(every.videos, retrieved)
        stages = self._stages(user, filtered, regressed)
        listed = first_within_caps(self._order(stages), self.candidates.caps, self.settings.lists.top_k)
        if len(listed) < self.settings.lists.top_k and len(filtered[0]) < len(every.videos):
            stages = every
            listed = first_within_caps(self._order(stages), self.candidates.caps, self.settings.lists.top_k)
        return Trace(
            retrieved,
            self._names(every.brought_by[at], HYBRID),
            every.classifier[at],
            np.isin(retrieved, filtered[0]),
            self._order(stages),
            listed,
            {"classifier": self.ranker.ranker.classifier, "regressor": self.ranker.ranker.regressor},
            self.ranker.joined.names,
            partial(self.ranker.joined.pair, user),
        )

    def _ordered_lists(self, block: UserBlock) -> Iterator["OneList"]:
        """The hybrid's list of each user of a block."""
        rewatch = self.candidates.rewatch(block.users)
        for part, found in self._filtered(block):
            regressor = self._of_pairs(block.regressed, part.start, found)
            for user, filtered, regressed in zip(range(part.start, part.stop), found, regressor, strict=True):
                source = REWATCH if rewatch[user] else HYBRID
                ordered = self._ordered(self._stages(int(block.users[user]), filtered, regressed), source)
                if len(ordered.video_id) < self.settings.lists.top_k:
                    open_videos = self.candidates.open_videos(int(block.users[user]))
                    if len(filtered[0]) < len(open_videos):
                        # The caps have no room for enough of the filter's choice: the regressor orders all.
                        ordered = self._ordered(self._all_stages(block, user, open_videos), source)
                yield ordered

    def _all_stages(self, block: UserBlock, user: int, open_videos: OpenVideos) -> Stages:
        """All videos that are open to a user of the block, scored by every stage."""
        every = np.flatnonzero(open_videos.dense())
        one = int(block.users[user])
        brought_by = np.zeros(len(every), dtype=np.uint32)
        if self.retrieval is not None:
            videos, of_videos = self.retrieval.of_user(
                open_videos, block.ranker.joined.user_factors[one], int(self.candidates.user_id[one])
            )
            brought_by[np.searchsorted(every, videos)] = of_videos
        pairs = (every, block.ranker.joined.als_scores(one, every), brought_by)
        (classifier,) = self._of_pairs(block.probability, user, [pairs])
        (regressor,) = self._of_pairs(block.regressed, user, [pairs])
        return self._stages(one, (*pairs, classifier), regressor)

    def _stages(self, user: int, filtered: Filtered, regressor: np.ndarray) -> Stages:
        """The scores that order some videos for a user, given by index in the candidates."""
        videos, als, _, _ = filtered
        return Stages(*filtered, regressor, self._ordering(user, videos, regressor, als))

    def _ordering(self, user: int, videos: np.ndarray, regressor: np.ndarray, als: np.ndarray) -> np.ndarray:
        """The values by which these videos of a user are ordered: float64 [videos]."""
        ranker = self.ranker.ranker
        ordering = ranker.ordering(regressor, als)
        if self.common is None:
            return ordering
        plays = np.full(len(videos), self.plays[user])
        return ranker.shrinkage.applied(ordering, self.common[videos], plays)

    def _order(self, stages: Stages) -> np.ndarray:
        """These videos, best first."""
        # The videos ascend, and so do ids.
        order = hybrid_order(
            stages.classifier,
            stages.ordering,
            stages.videos,
            len(stages.videos),
            received=self.received[stages.videos],
        )
        found: np.ndarray = stages.videos[order]
        return found

    def _ordered(self, stages: Stages, source: str) -> "OneList":
        candidates = self.candidates
        videos = first_within_caps(self._order(stages), candidates.caps, self.settings.lists.top_k)
        positions = np.searchsorted(stages.videos, videos)
        return OneList(
            candidates.video_id[videos],
            stages.ordering[positions],
            stages.classifier[positions],
            stages.regressor[positions],
            stages.als[positions].astype(np.float64),
            source,
            self._names(stages.brought_by[positions], source),
        )

    def _names(self, brought_by: np.ndarray, source: str) -> np.ndarray:
        if self.retrieval is None or source != HYBRID:
            return np.full(len(brought_by), "")
        return joined_names(brought_by, self.retrieval.names)

    def _filtered(self, block: UserBlock) -> Iterator[tuple[slice, list[Filtered]]]:
        """The videos that the filter keeps, for one of these users after the other."""
        keep = filter_size(self.settings.ranker, self.settings.lists)
        if self.retrieval is not None:
            return self._filtered_union(block, self.retrieval, keep)
        return self._filtered_catalogue(block, keep)

    def _filtered_catalogue(self, block: UserBlock, keep: int) -> Iterator[tuple[slice, list[Filtered]]]:
        for part, of_users in block.likeliest(self.candidates.closed(block.users), keep):
            found = []
            for user, (videos, als, raw) in zip(range(part.start, part.stop), of_users, strict=True):
                likely = expit(raw)
                tie_break = partial(self._tie_break, block, user, videos, als)
                best = best_positions(likely, np.ones(len(videos), dtype=bool), keep, tie_break)
                brought_by = np.zeros(len(best), dtype=np.uint32)
                found.append((videos[best], als[best], brought_by, likely[best]))
            yield part, found

    def _filtered_union(
        self, block: UserBlock, retrieval: Retrieval, keep: int
    ) -> Iterator[tuple[slice, list[Filtered]]]:
        step = max(1, PAIRS_AT_A_TIME // retrieval.size)
        for start in range(0, len(block.users), step):
            part = slice(start, min(start + step, len(block.users)))
            pairs = [self._retrieved(retrieval, user) for user in block.users[part].tolist()]
            probability = self._of_pairs(block.probability, start, pairs)
            found = []
            users = range(part.start, part.stop)
            for user, (videos, als, brought_by), likely in zip(users, pairs, probability, strict=True):
                tie_break = partial(self._tie_break, block, user, videos, als)
                best = best_positions(likely, np.ones(len(videos), dtype=bool), keep, tie_break)
                found.append((videos[best], als[best], brought_by[best], likely[best]))
            yield part, found

    def _tie_break(
        self, block: UserBlock, user: int, videos: np.ndarray, als: np.ndarray, tied: np.ndarray
    ) -> np.ndarray:
        """The order of a user's videos that the classifier scores equally."""
        (regressor,) = self._of_pairs(block.regressed, user, [(videos[tied], als[tied])])
        one = int(block.users[user])
        ordering = self._ordering(one, videos[tied], regressor, als[tied])
        return in_turn(ordering, self.received[videos[tied]])

    def _retrieved(self, retrieval: Retrieval, user: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The user's candidates, their als_score and what brought them."""
        joined = self.ranker.joined
        videos, brought_by = retrieval.of_user(
            self.candidates.open_videos(user), joined.user_factors[user], int(self.candidates.user_id[user])
        )
        return videos, joined.als_scores(user, videos), brought_by

    def _of_pairs(
        self,
        score: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        first: int,
        pairs: Sequence[tuple[np.ndarray, ...]],
    ) -> list[np.ndarray]:
        """A model's scores for users of a block, from index `first` on.

        Args:
            pairs: for each user the indices of the videos, their als_score, and a value not used here.
        """
        lengths = [len(of_user[0]) for of_user in pairs]
        user = first + np.repeat(np.arange(len(pairs)), lengths)
        video, als = (np.concatenate([of_user[column] for of_user in pairs]) for column in range(2))
        return np.split(score(user, video, als), np.cumsum(lengths)[:-1])
