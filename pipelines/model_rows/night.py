"""Everything that is known at an instant, from which candidates and their feature rows are composed.

The only code that composes a row of the next day's rankers, for training, backtests and scoring alike: user
side, video side, and the pair's own features. Whatever a row holds comes from plays strictly before the
user's instant, from sources fitted strictly before the night's cutoff, and from Feast's features as of it.
Numbers are relative to the night or to the user where their level says only how old the log is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from nightreel import columns
from nightreel.catalogue.formulas import GROUP_PRIOR_PLAYS, products_with, shrunk_share
from nightreel.settings import Settings
from pipelines.model_rows.own import OwnFeatures
from pipelines.model_rows.videos import video_features
from pipelines.rankers.filtering import best_positions
from pipelines.rankers.sides import Sides
from pipelines.retrieval.fits import fitted_arrays
from pipelines.retrieval.histories import Histories, PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.same_group import groups_of
from pipelines.retrieval.sources import Catalogue, Fitted

_USER_FEATURES = (columns.USER_AGG_LIKED_SHARE, columns.USER_AGG_WATCH_RATIO, columns.USER_AGG_PLAY_DURATION)
_TINY = 1e-9


@dataclass(frozen=True)
class Rows:
    """Candidates of some users: one entry a pair, user after user.

    user: position among the users asked for. video: position in the night's catalogue. features: float32
    [pairs, features]. als_score: float32 [pairs], NaN where unknown. brought_by: uint32 [pairs], a bit for
    each source, the first one's the lowest, set where the video is among its best.
    """

    user: np.ndarray
    video: np.ndarray
    features: np.ndarray
    als_score: np.ndarray
    brought_by: np.ndarray


@dataclass(frozen=True)
class Night:
    """What is known at the beginning of a night.

    plays_columns: int64, the position in the catalogue of each video of `plays`. sides_video: int64 [videos],
    the position of each in `sides`, -1 where it may not be listed. video_table: float32 [videos, features].
    """

    catalogue: Catalogue
    is_listable: np.ndarray
    sources: Mapping[str, Fitted]
    plays: PlaysByUser
    plays_columns: np.ndarray
    sides: Sides
    sides_video: np.ndarray
    video_names: tuple[str, ...]
    video_table: np.ndarray
    groups: Mapping[str, csr_matrix]
    own: OwnFeatures
    source_k: int

    @classmethod
    def of(
        cls, past: Past, plays: PlaysByUser, sides: Sides, listable: pl.DataFrame, settings: Settings
    ) -> "Night":
        """Fit or read the sources, and gather what is known of each video.

        past: plays before the cutoff. plays: of the same log, asked only for what is before an instant; its
        videos may be more than those of the past. listable: the videos of `sides` in their order: video_id,
        author, category (negative where unknown) and uploaded_us.
        """
        listable_id = listable[columns.VIDEO_ID].to_numpy()
        video_id = np.union1d(plays.video_id, listable_id)
        position = np.searchsorted(video_id, listable_id)

        def spread(name: str, unknown: int) -> np.ndarray:
            values = np.full(len(video_id), unknown, dtype=np.int64)
            values[position] = listable[name].to_numpy()
            return values

        received = np.full(len(video_id), -1, dtype=np.int64)
        received[position] = sides.received()
        catalogue = Catalogue(
            video_id,
            np.searchsorted(video_id, past.video_id),
            spread("author", -1),
            spread("category", -1),
            spread("uploaded_us", 0),
            received,
        )
        arrays = fitted_arrays(past, settings)
        sides_video = np.full(len(video_id), -1, dtype=np.int64)
        sides_video[position] = np.arange(len(position))
        names, table = video_features(past, catalogue, sides, position)
        groups = {"author": groups_of(catalogue.author), "category": groups_of(catalogue.category)}
        return cls(
            catalogue,
            sides_video >= 0,
            {name: SOURCES[name].over(arrays[name], catalogue) for name in arrays},
            plays,
            np.searchsorted(video_id, plays.video_id),
            sides,
            sides_video,
            names,
            table,
            groups,
            OwnFeatures.of(sides, _names(arrays, groups, names), settings),
            settings.source_k,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The features of a row, in order."""
        return (*_names(self.sources, self.groups, self.video_names), *self.own.names)

    def rows(
        self,
        user_id: np.ndarray,
        instant_us: np.ndarray,
        sides_user: np.ndarray,
        open_to: np.ndarray | None = None,
        *,
        at_least: int = 0,
    ) -> Rows:
        """The candidates of some users as of an instant each, with their features.

        user_id, instant_us, sides_user: int64 [users]; the last are positions in `sides`, -1 where unknown.
        open_to: bool [users, videos of the sides], what may be listed; by default whatever each user had not
        played. at_least: candidates of a user that there are at least, as far as videos are open.
        """
        users = len(user_id)
        histories = self.plays.histories(user_id, instant_us, self.plays_columns, len(self.catalogue))
        opened = np.zeros((users, len(self.catalogue)), dtype=bool)
        if open_to is None:
            opened[:] = self.is_listable
            opened[histories.played.nonzero()] = False
        else:
            opened[:, self.is_listable] = open_to[:, self.sides_video[self.is_listable]]
        scores = {name: source.scores(histories) for name, source in self.sources.items()}
        als = self._als_scores(sides_user)
        scores[columns.ALS_SCORE] = np.nan_to_num(als)
        brought_by = np.zeros(opened.shape, dtype=np.uint32)
        for number, name in enumerate(self.sources):
            for row in range(users):
                of_user = scores[name][row]
                best = best_positions(of_user, opened[row] & (of_user > 0), self.source_k, self._tie_break)
                brought_by[row, best] |= np.uint32(1 << number)
        chosen = brought_by > 0
        self._fill(chosen, opened, at_least)
        user, video = np.nonzero(chosen)
        by_reception = np.lexsort((-self.catalogue.received[video], user))
        features = [
            column
            for values in scores.values()
            for column in _of_scores(values[:, self.is_listable], values[user, video], user, by_reception)
        ]
        features += self._of_groups(histories, user, video)
        features += list(self.video_table[video].T)
        features += [column[user] for column in self._of_users(histories, sides_user)]
        features += self.own.values(sides_user[user], self.sides_video[video])
        return Rows(
            user,
            video,
            np.column_stack([column.astype(np.float32) for column in features]),
            als[user, video],
            brought_by[user, video],
        )

    def _fill(self, chosen: np.ndarray, opened: np.ndarray, at_least: int) -> None:
        """Add the most liked open videos until each user has enough."""
        if not at_least:
            return
        liked = self.video_table[:, self.video_names.index("liked_all")]
        for user in np.flatnonzero(chosen.sum(axis=1) < at_least).tolist():
            missing = at_least - int(chosen[user].sum())
            among = opened[user] & ~chosen[user]
            chosen[user, best_positions(liked, among, missing, self._tie_break)] = True

    def _tie_break(self, tied: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.catalogue.received[tied]
        return found

    def _als_scores(self, sides_user: np.ndarray) -> np.ndarray:
        """The product of Feast's factors: float32 [users, catalogue], NaN where unknown."""
        found = np.full((len(sides_user), len(self.catalogue)), np.nan, dtype=np.float32)
        for row, user in enumerate(sides_user.tolist()):
            if user >= 0:
                scores = products_with(self.sides.video_factors, self.sides.user_factors[user])
                found[row, self.is_listable] = scores[self.sides_video[self.is_listable]]
        return found

    def _of_groups(self, histories: Histories, user: np.ndarray, video: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        usual = histories.liked_share
        for groups in self.groups.values():
            plays, likes = (
                _of_own_group((rows @ groups).tocsr(), groups, user, video)
                for rows in (histories.played, histories.liked)
            )
            share = shrunk_share(likes, plays, usual[user], GROUP_PRIOR_PLAYS)
            found += [plays, share, likes / (histories.likes[user] + 1.0)]
        return found

    def _of_users(self, histories: Histories, sides_user: np.ndarray) -> list[np.ndarray]:
        found = [
            histories.plays,
            histories.likes,
            histories.liked_share,
            histories.since_days,
            histories.watched,
        ]
        for name in _USER_FEATURES:
            values = np.append(self.sides.user_feature(name), np.float32(np.nan))
            found.append(values[sides_user])
        return found


def _names(sources: Iterable[str], groups: Iterable[str], of_videos: Iterable[str]) -> tuple[str, ...]:
    """The features of a row but those of the user's own modules, in order."""
    return (
        *(f"{name}{part}" for name in sources for part in ("", "_rank")),
        columns.ALS_SCORE,
        "als_score_rank",
        *(f"{group}_{part}" for group in groups for part in ("plays", "liked_share", "of_liked")),
        *of_videos,
        *("history_plays", "history_likes", "history_liked_share", "days_since_play", "history_watched"),
        *_USER_FEATURES,
    )


def _of_own_group(sums: csr_matrix, groups: csr_matrix, user: np.ndarray, video: np.ndarray) -> np.ndarray:
    """The user's sum of the group of the pair's video, 0 without one: float64 [pairs].

    sums: [users, groups]. groups: [videos, groups], at most one a video.
    """
    has_group = np.diff(groups.indptr) > 0
    member = has_group[video]
    code = groups.indices[groups.indptr[:-1][video[member]]]
    found = np.zeros(len(video))
    found[member] = np.asarray(sums[user[member], code]).ravel()
    return found


def _of_scores(
    listable: np.ndarray, own: np.ndarray, user: np.ndarray, by_reception: np.ndarray
) -> list[np.ndarray]:
    """Of each pair how far its score is above the user's mean, in deviations, and its log rank from 0.

    listable: [users, listable videos]. own, user: of each pair, users ascending. by_reception: int64 [pairs],
    the pairs user after user, the best received video first, which decides between equal scores.
    """
    # In rows, so that a sum does not depend on how many users are asked for.
    known = np.ascontiguousarray(listable)
    mean, deviation = known.mean(axis=1), known.std(axis=1) + _TINY
    order = by_reception[np.lexsort((-own[by_reception], user[by_reception]))]
    rank = np.empty(len(own))
    rank[order] = np.arange(len(own)) - np.searchsorted(user, user)
    return [(own - mean[user]) / deviation[user], np.log1p(rank)]
