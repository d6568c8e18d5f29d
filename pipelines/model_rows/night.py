"""Everything known at an instant, from which candidates and their feature rows are composed.

The only code that composes a row of the next day's rankers, for training, backtests and scoring: user side,
video side, and the pair's own features. All values of a row come from plays strictly before the user's
instant, from sources fitted strictly before the night's cutoff, and from Feast's features as of it. Numbers
are relative to the night or to the user where their level says only how old the log is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.catalogue.formulas import products_with
from nightreel.core.catalogue.night import OF_USER_IN_FEAST, night_view
from nightreel.core.settings.needs import SourceNeeds
from pipelines.model_rows.groups import codes_of, group_features, repeat_features
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.ordering import best_positions, first_open
from pipelines.model_rows.own import OwnFeatures
from pipelines.model_rows.videos import video_features
from pipelines.retrieval.fits import fitted_arrays
from pipelines.retrieval.histories import Histories, PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import source_of
from pipelines.retrieval.sources import Catalogue, Fitted, KnowsUsers, SameForAll

_TINY = 1e-9


@dataclass(frozen=True)
class Rows:
    """Candidates of some users: one entry per pair, user after user.

    Attributes:
        user: position among the users asked for.
        video: position in the night's catalogue.
        features: float32 [pairs, features].
        als_score: float32 [pairs], NaN where unknown.
        brought_by: uint32 [pairs], a bit for each source, the first one's the lowest, set where the video is
            among its best.
    """

    user: np.ndarray
    video: np.ndarray
    features: np.ndarray
    als_score: np.ndarray
    brought_by: np.ndarray


@dataclass(frozen=True)
class Night:
    """Everything known at the beginning of a night.

    Attributes:
        plays_columns: int64, the position in the catalogue of each video of `plays`.
        joined_video: int64 [videos], the position of each in `joined`, -1 where it may not be listed.
        groups: int64 [videos] by the group's key, as `codes_of` gives them.
        of_videos: float32 [videos] by feature.
        entries: the names of the catalogue's features of a row, in order.
    """

    catalogue: Catalogue
    is_listable: np.ndarray
    sources: Mapping[str, Fitted]
    plays: PlaysByUser
    plays_columns: np.ndarray
    joined: JoinedFeatures
    joined_video: np.ndarray
    groups: Mapping[str, np.ndarray]
    of_videos: Mapping[str, np.ndarray]
    entries: tuple[str, ...]
    own: OwnFeatures
    source_k: int

    @classmethod
    def of(
        cls,
        past: Past,
        plays: PlaysByUser,
        joined: JoinedFeatures,
        listable: pl.DataFrame,
        settings: SourceNeeds,
    ) -> "Night":
        """Fit or read the sources, and gather the facts about each video.

        Args:
            past: plays before the cutoff.
            plays: of the same log, read only up to each instant; may have more videos than the past.
            listable: the videos of `joined`, in the same order: video_id, uploaded_us, and each group of the
                catalogue by its key, negative where unknown.
        """
        listable_id = listable[columns.VIDEO_ID].to_numpy()
        video_id = np.union1d(plays.video_id, listable_id)
        position = np.searchsorted(video_id, listable_id)

        def spread(name: str, unknown: int) -> np.ndarray:
            values = np.full(len(video_id), unknown, dtype=np.int64)
            values[position] = listable[name].to_numpy()
            return values

        received = np.full(len(video_id), -1, dtype=np.int64)
        received[position] = joined.received()
        catalogue = Catalogue(
            video_id,
            np.searchsorted(video_id, past.video_id),
            spread("author", -1),
            spread(columns.CATEGORY_LEVELS[0].removesuffix("_id"), -1),
            spread("uploaded_us", 0),
            received,
        )
        arrays = fitted_arrays(past, settings)
        joined_video = np.full(len(video_id), -1, dtype=np.int64)
        joined_video[position] = np.arange(len(position))
        entries = night_view(arrays).names
        return cls(
            catalogue,
            joined_video >= 0,
            {name: source_of(name).over(arrays[name], catalogue) for name in arrays},
            plays,
            np.searchsorted(video_id, plays.video_id),
            joined,
            joined_video,
            {group.join_key: codes_of(spread(group.join_key, -1)) for group in GROUPS},
            video_features(past, catalogue, joined, position),
            entries,
            OwnFeatures.of(joined, entries, settings.data, settings.features),
            settings.retrieval.source_k,
        )

    def of_users(self, joined: JoinedFeatures, settings: SourceNeeds) -> "Night":
        """The same night for other users; `joined` has these users and the same videos."""
        return replace(
            self, joined=joined, own=OwnFeatures.of(joined, self.entries, settings.data, settings.features)
        )

    def without(self, names: Collection[str]) -> "Night":
        """The same night without some of the sources."""
        kept = {name: source for name, source in self.sources.items() if name not in names}
        if len(kept) == len(self.sources):
            return self
        return replace(self, sources=kept, entries=night_view(kept).names)

    @property
    def names(self) -> tuple[str, ...]:
        """The features of a row, in order."""
        return (*self.entries, *self.own.names)

    def knows(self, user_id: np.ndarray) -> np.ndarray:
        """Whether a source has scores for each of these users even without plays: bool [users]."""
        known = np.zeros(len(user_id), dtype=bool)
        for source in self.sources.values():
            if isinstance(source, KnowsUsers):
                known |= source.knows(user_id)
        return known

    def rows(
        self,
        user_id: np.ndarray,
        instant_us: np.ndarray,
        joined_user: np.ndarray,
        open_to: np.ndarray | None = None,
        *,
        at_least: int = 0,
    ) -> Rows:
        """The candidates of some users as of an instant each, with their features.

        Args:
            user_id, instant_us, joined_user: int64 [users]; the last are positions in `joined`, -1 where
                unknown.
            open_to: bool [users, videos of `joined`], what may be listed; by default all that each user had
                not played.
            at_least: the fewest candidates per user, as far as enough videos are open.
        """
        users = len(user_id)
        histories = self.plays.histories(user_id, instant_us, self.plays_columns, len(self.catalogue))
        opened = np.zeros((users, len(self.catalogue)), dtype=bool)
        if open_to is None:
            opened[:] = self.is_listable
            opened[histories.played.nonzero()] = False
        else:
            opened[:, self.is_listable] = open_to[:, self.joined_video[self.is_listable]]
        scores = {name: source.scores(histories) for name, source in self.sources.items()}
        als = self._als_scores(joined_user)
        scores[columns.ALS_SCORE] = np.nan_to_num(als)
        brought_by = np.zeros(opened.shape, dtype=np.uint32)
        for number, name in enumerate(self.sources):
            for row in range(users):
                best = self.best_of(name, scores[name][row], opened[row], self.source_k)
                brought_by[row, best] |= np.uint32(1 << number)
        chosen = brought_by > 0
        self._fill(chosen, opened, at_least)
        user, video = np.nonzero(chosen)
        by_reception = np.lexsort((-self.catalogue.received[video], user))
        found: dict[str, np.ndarray] = {}
        for name, values in scores.items():
            found[name], found[f"{name}_rank"] = _of_scores(
                values, self._listable, values[user, video], user, by_reception
            )
        for name, codes in self.groups.items():
            found |= group_features(name, codes, histories, user, video)
        found |= repeat_features(histories, user, video, len(self.catalogue))
        found |= {name: values[video] for name, values in self.of_videos.items()}
        found |= {name: values[user] for name, values in self._of_users(histories, joined_user).items()}
        own = self.own.values(joined_user[user], self.joined_video[video])
        return Rows(
            user,
            video,
            np.column_stack(
                [values.astype(np.float32) for values in (*(found[name] for name in self.entries), *own)]
            ),
            als[user, video],
            brought_by[user, video],
        )

    def best_of(self, name: str, scores: np.ndarray, opened: np.ndarray, most: int) -> np.ndarray:
        """The open videos that a source scores highest for a user, above 0: positions in the catalogue.

        Ties go to the video that is received better. The positions are in no particular order.

        Args:
            scores, opened: [videos of the catalogue], the user's.
            most: the number of videos, at most.
        """
        if name in self._common_orders:
            return first_open(self._common_orders[name], opened, most)
        return best_positions(scores, opened & (scores > 0), most, self._tie_break)

    @cached_property
    def _common_orders(self) -> Mapping[str, np.ndarray]:
        """Of sources with one list for everyone: int64, positions in the catalogue, best first."""
        received, found = self.catalogue.received, {}
        for name, source in self.sources.items():
            if isinstance(source, SameForAll):
                order = np.lexsort((-received, -source.values))
                found[name] = order[source.values[order] > 0]
        return found

    @cached_property
    def _listable(self) -> np.ndarray:
        """Positions in the catalogue of the videos that may be listed: int64."""
        return np.flatnonzero(self.is_listable)

    def _fill(self, chosen: np.ndarray, opened: np.ndarray, at_least: int) -> None:
        """Add the most liked open videos until each user has enough."""
        if not at_least:
            return
        liked = self.of_videos["liked_all"]
        for user in np.flatnonzero(chosen.sum(axis=1) < at_least).tolist():
            missing = at_least - int(chosen[user].sum())
            among = opened[user] & ~chosen[user]
            chosen[user, best_positions(liked, among, missing, self._tie_break)] = True

    def _tie_break(self, tied: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.catalogue.received[tied]
        return found

    def _als_scores(self, joined_user: np.ndarray) -> np.ndarray:
        """The product of Feast's factors: float32 [users, catalogue], NaN where unknown."""
        found = np.full((len(joined_user), len(self.catalogue)), np.nan, dtype=np.float32)
        for row, user in enumerate(joined_user.tolist()):
            if user >= 0:
                scores = products_with(self.joined.video_factors, self.joined.user_factors[user])
                found[row, self.is_listable] = scores[self.joined_video[self.is_listable]]
        return found

    def _of_users(self, histories: Histories, joined_user: np.ndarray) -> dict[str, np.ndarray]:
        found = {
            "history_plays": histories.plays,
            "history_likes": histories.likes,
            "history_liked_share": histories.liked_share,
            "days_since_play": histories.since_days,
            "history_watched": histories.watched,
        }
        for name in OF_USER_IN_FEAST:
            values = np.append(self.joined.user_feature(name), np.float32(np.nan))
            found[name] = values[joined_user]
        return found


def _of_scores(
    scores: np.ndarray, listable: np.ndarray, own: np.ndarray, user: np.ndarray, by_reception: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each pair's score minus the user's mean, in standard deviations, and its log rank from 0.

    Args:
        scores: [users, videos of the catalogue].
        listable: int64, positions in the catalogue, over which mean and deviation are.
        own, user: of each pair, users ascending.
        by_reception: int64 [pairs], the pairs by user and reception of the video, best first, which decides
            between equal scores.
    """
    users = len(scores)
    # Where everyone has the same scores, one row says it all. In rows, so that a sum does not depend on how
    # many users are asked for.
    known = np.take(scores[:1] if scores.strides[0] == 0 else scores, listable, axis=1)
    mean = np.broadcast_to(known.mean(axis=1), users)
    deviation = np.broadcast_to(known.std(axis=1) + _TINY, users)
    falling = -own[by_reception]
    starts = np.searchsorted(user, np.arange(users + 1))
    rank = np.empty(len(own))
    for first, last in pairwise(starts.tolist()):
        order = np.argsort(falling[first:last], kind="stable")
        rank[by_reception[first:last][order]] = np.arange(last - first)
    return (own - mean[user]) / deviation[user], np.log1p(rank)
