"""The features of users and of videos as of an instant, each encoded once, to be composed into pairs.

Both come through Feast's point-in-time join. What depends on the pair, `als_score` and `category_lift`, and
on the instant alone, the hour and the weekday, is computed here from the same inputs as by Feast's on-demand
views; a test holds the composed rows equal to Feast's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FeatureStore

from feast_asof import AsOfRetrievalJob
from nightreel.core import columns
from nightreel.core.arrow import one_array
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.catalogue.formulas import hour_and_weekday, products_with
from nightreel.core.errors import InputError
from pipelines.local_days import INSTANT
from pipelines.model_rows.category_lifts import CategoryLifts
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.model_rows.ordering import received
from pipelines.model_rows.pair_table import PairTable, pair_tables
from pipelines.pair_keys import is_of_pairs
from pipelines.training_frame import ON_DEMAND

# From files that have no times: known once they have arrived.
_WITHOUT_TIME = frozenset(
    {*columns.USER_CATEGORICALS, *columns.ONEHOT_FEATURES, *columns.CATEGORY_LEVELS, *columns.TEXT_FEATURES}
)

# A multiple of what BLAS takes at a time: `products_with` rounds by that.
_VIDEOS_AT_A_TIME = 2_048


@dataclass(frozen=True)
class EncodedFeatures:
    """Features of users, or of videos: float32 [rows, features], and each view's columns in a pair's row."""

    values: np.ndarray
    parts: tuple[tuple[slice, slice], ...]  # columns of a pair's row, and the same columns of `values`

    def columns(self, rows: np.ndarray | slice = slice(None)) -> dict[int, np.ndarray]:
        """These rows' features by their position in a pair's row: float32 [rows] each."""
        return {
            in_pair.start + position: self.values[rows, in_values.start + position]
            for in_pair, in_values in self.parts
            for position in range(in_pair.stop - in_pair.start)
        }


@dataclass(frozen=True)
class JoinedFeatures:
    """User features and video features as of an instant.

    Attributes:
        names: features of a pair in the service's order.
        users, videos: one row each, in the order asked for.
        user_factors, video_factors: float32 [rows, factors], NaN where there are none.
        constants: index in a pair's row -> value, for features that are the same for all pairs.
        als_index: the column of als_score in a pair's row.
        pairs: the other features of pairs of users and videos.
    """

    names: tuple[str, ...]
    users: EncodedFeatures
    videos: EncodedFeatures
    user_factors: np.ndarray
    video_factors: np.ndarray
    constants: Mapping[int, float]
    als_index: int
    pairs: tuple[PairTable, ...] = ()

    def of_users(self, users: np.ndarray) -> "JoinedFeatures":
        """The same for some of the users, given by their positions, ascending, and for all videos."""
        return replace(
            self,
            users=replace(self.users, values=self.users.values[users]),
            user_factors=self.user_factors[users],
            pairs=tuple(table.of_some_users(users) for table in self.pairs),
        )

    @property
    def pair_indices(self) -> tuple[int, ...]:
        """Columns of the pair features in a row, als_score first: the order of the pair values below."""
        return (self.als_index, *(index for table in self.pairs for index in table.indices))

    def pair_grid(self, users: np.ndarray) -> list[np.ndarray]:
        """Every pair feature except als_score, of these users with all videos: float32 [users, videos]."""
        return [values for table in self.pairs for values in table.grid(users)]

    def pair_values(self, user: np.ndarray, video: np.ndarray) -> list[np.ndarray]:
        """The same of some pairs: float32 [pairs], NaN for a negative user, who is unknown."""
        return [values for table in self.pairs for values in table.pairs(user, video)]

    def user_columns(self, users: np.ndarray) -> dict[int, np.ndarray]:
        """Features of these users, and the constants, by position in a pair's row: float32 [users]."""
        constants = {
            position: np.full(len(users), value, dtype=np.float32)
            for position, value in self.constants.items()
        }
        return self.users.columns(users) | constants

    def video_columns(self) -> dict[int, np.ndarray]:
        """The features of all videos by their position in a pair's row: float32 [videos]."""
        return self.videos.columns()

    def als_scores(self, user: int, videos: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The user's als_score with these videos: float32 [videos], NaN where either has no factors."""
        # One user at a time: a product of whole blocks would round by the size of the block.
        return products_with(self.video_factors[videos], self.user_factors[user])

    def als_grid(self, users: np.ndarray) -> np.ndarray:
        """The als_score of these users with all videos: float32 [users, videos], as `als_scores`.

        Some videos at a time, which stay in the processor's cache from one user to the next.
        """
        found = np.empty((len(users), len(self.video_factors)), dtype=np.float32)
        for start in range(0, len(self.video_factors), _VIDEOS_AT_A_TIME):
            videos = slice(start, start + _VIDEOS_AT_A_TIME)
            for row, user in enumerate(users.tolist()):
                found[row, videos] = self.als_scores(user, videos)
        return found

    def pair(self, user: int, video: int) -> np.ndarray:
        """The features of one pair, as a row that the models read: float32 [features]."""
        row = np.full(len(self.names), np.nan, dtype=np.float32)
        for position, values in (
            self.user_columns(np.array([user])) | self.videos.columns(np.array([video]))
        ).items():
            row[position] = values[0]
        of_pair = self.pair_values(np.array([user]), np.array([video]))
        row[list(self.pair_indices)] = [
            self.als_scores(user, np.array([video]))[0],
            *(values[0] for values in of_pair),
        ]
        return row

    def video_feature(self, name: str) -> np.ndarray:
        """A numeric video feature as encoded: float32 [videos], NaN where unknown."""
        return self._feature(self.videos, name)

    def received(self) -> np.ndarray:
        """How well all users received each video, as `ordering.received` has it: int64 [videos]."""
        of_videos = (columns.VIDEO_AGG_LIKED_SHARE, columns.VIDEO_AGG_VIEWS)
        return received(*(self.video_feature(name) for name in of_videos))

    def user_feature(self, name: str) -> np.ndarray:
        """A numeric user feature as encoded: float32 [users], NaN where unknown."""
        return self._feature(self.users, name)

    def _feature(self, encoded: EncodedFeatures, name: str) -> np.ndarray:
        position = self.names.index(name) if name in self.names else -1
        for in_pair, in_values in encoded.parts:
            if in_pair.start <= position < in_pair.stop:
                found: np.ndarray = encoded.values[:, in_values.start + position - in_pair.start]
                return found
        raise InputError(
            f"Feature {name}: not among the features of users or videos in the service.",
            "Put it back into the service hybrid_ranker, and run `feast apply`.",
        )


def join_features(
    store: FeatureStore,
    encoding: FeatureEncoding,
    user_id: np.ndarray,
    video_id: np.ndarray,
    *,
    as_of: datetime,
    zone: ZoneInfo,
    profiles_at: datetime | None = None,
) -> JoinedFeatures:
    """Join and encode the features of these users and videos as of the instant.

    Args:
        profiles_at: the instant as of which profiles, texts and categories are read, since these have no
            event time; by default `as_of`.
        user_id, video_id: int64, at least one each.
        zone: where hours and weekdays are counted.

    Raises:
        InputError: if the service's features are not those that the encoding was made of.
    """
    service = store.get_feature_service(columns.HYBRID_RANKER)
    projections = {
        view.name: tuple(f.name for f in view.features) for view in service.feature_view_projections
    }
    names = tuple(name for features in projections.values() for name in features)
    encoding.require(names)
    job = store.get_historical_features(entity_df=_entities(user_id, video_id, as_of), features=service)
    profiles = job
    if profiles_at is not None and profiles_at != as_of:
        entities = _entities(user_id, video_id, profiles_at)
        profiles = store.get_historical_features(entity_df=entities, features=service)
    of_pairs: dict[str, slice] = {}
    parts: dict[str, dict[str, slice]] = {columns.USER_ID: {}, columns.VIDEO_ID: {}}
    for view, features in projections.items():
        if not set(features) & set(ON_DEMAND):
            first = names.index(features[0])
            part = slice(first, first + len(features))
            if is_of_pairs(store, view):
                of_pairs[view] = part
            else:
                parts[_key(store, view)][view] = part
    hour, weekday = hour_and_weekday(pl.Series([as_of], dtype=INSTANT), zone)
    user_factors, video_factors = _factors(job, len(user_id), len(video_id))
    return JoinedFeatures(
        names,
        _encoded((job, profiles), encoding, names, parts[columns.USER_ID], len(user_id)),
        _encoded((job, profiles), encoding, names, parts[columns.VIDEO_ID], len(video_id)),
        user_factors,
        video_factors,
        constants={
            names.index(columns.HOUR_OF_DAY): hour[0],
            names.index(columns.DAY_OF_WEEK): weekday[0],
        },
        als_index=names.index(columns.ALS_SCORE),
        pairs=(
            _lifts(job, profiles, names, len(user_id), len(video_id)),
            *pair_tables(
                store, encoding, of_pairs, user_id, video_id, as_of=as_of, profiles_at=profiles_at or as_of
            ),
        ),
    )


def _entities(user_id: np.ndarray, video_id: np.ndarray, as_of: datetime) -> pa.Table:
    """Entity rows that hold every user and every video at least once; the fewer of the two repeat.

    The service wants both keys in each row; how they are paired does not matter.
    """
    rows = max(len(user_id), len(video_id))
    instant = pl.lit(as_of, dtype=INSTANT)
    return (
        pl.DataFrame({columns.USER_ID: np.resize(user_id, rows), columns.VIDEO_ID: np.resize(video_id, rows)})
        .with_columns(
            instant.alias(columns.EVENT_TIMESTAMP),
            instant.alias(columns.INTERACTION_TIMESTAMP),
            # What a user has with groups of videos is neither a user's nor a video's feature.
            *(pl.lit(None, dtype=pl.Int64).alias(group.join_key) for group in GROUPS),
        )
        .to_arrow()
    )


def _key(store: FeatureStore, view: str) -> str:
    keys: list[str] = store.get_feature_view(view).join_keys
    if keys not in ([columns.USER_ID], [columns.VIDEO_ID]):
        raise InputError(
            f"Feature view {view}: its keys are {keys}; scoring knows users and videos.",
            "Take the view out of the service hybrid_ranker, or key it by user or by video.",
        )
    return keys[0]


def _encoded(
    jobs: tuple[AsOfRetrievalJob, AsOfRetrievalJob],
    encoding: FeatureEncoding,
    names: tuple[str, ...],
    parts: Mapping[str, slice],
    rows: int,
) -> EncodedFeatures:
    """The encoded features of users or of videos.

    Args:
        jobs: two joins: of views with a time, and of views without.
    """
    encoded: list[np.ndarray] = []
    found = []
    for view, in_pair in parts.items():
        source_rows = [_source_rows(job, view, rows) for job in jobs]
        found.append((in_pair, slice(len(encoded), len(encoded) + in_pair.stop - in_pair.start)))
        for name in names[in_pair]:
            at = int(name in _WITHOUT_TIME)
            values = jobs[at].source_column(view, name).take(source_rows[at])
            encoded.append(encoding.encode_column(name, values))
    return EncodedFeatures(np.column_stack(encoded), tuple(found))


def _lifts(
    job: AsOfRetrievalJob, profiles: AsOfRetrievalJob, names: tuple[str, ...], users: int, videos: int
) -> PairTable:
    lifts = CategoryLifts.of(job, job.positions(columns.USER_CATEGORIES)[:users])
    of_users = lifts.table[:-1, : lifts.groups]
    of_video = lifts.of_video[profiles.positions(columns.VIDEO_PROFILE)[:videos]]
    return PairTable.dense(names.index(columns.CATEGORY_LIFT), of_users, of_video.astype(np.int64))


def _factors(job: AsOfRetrievalJob, users: int, videos: int) -> tuple[np.ndarray, np.ndarray]:
    user_factors = _factor_rows(job, columns.USER_FACTORS, columns.USER_FACTOR, users)
    video_factors = _factor_rows(job, columns.VIDEO_FACTORS, columns.VIDEO_FACTOR, videos)
    if user_factors.shape[1] != video_factors.shape[1]:
        # Before the first refit users or videos have no factors, so no pair has a score.
        return np.full((users, 1), np.nan, np.float32), np.full((videos, 1), np.nan, np.float32)
    return user_factors, video_factors


def _factor_rows(job: AsOfRetrievalJob, view: str, feature: str, rows: int) -> np.ndarray:
    column = job.source_column(view, feature).take(_source_rows(job, view, rows))
    lists = one_array(column)
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    factors = len(values) // max(int(known.sum()), 1)
    matrix = np.full((rows, max(factors, 1)), np.nan, dtype=np.float32)
    if factors:
        matrix[known] = values.reshape(-1, factors)
    return matrix


def _source_rows(job: AsOfRetrievalJob, view: str, rows: int) -> pa.Array:
    """For each of the first `rows` entity rows the row of the view's source; null where none was known."""
    positions = job.positions(view)[:rows]
    return pa.array(positions, mask=positions < 0)
