"""Plays joined with the features known at their instant: Feast's point-in-time join, and which plays train.

The join is kept as positions: for each play and view the row of the view's source that was known at the
play's instant. The wide table never exists; `rankers.matrix` composes float32 blocks of it when they are
asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FeatureStore

from feast_asof import AsOfRetrievalJob
from nightreel.core import columns
from nightreel.core.errors import NightreelError
from nightreel.core.play_days import scan_days
from nightreel.core.settings import EvaluationSettings, Paths
from pipelines.hashing import uniform_hash
from pipelines.pair_keys import is_of_pairs, with_groups

PLAY_COLUMNS = (
    columns.USER_ID,
    columns.VIDEO_ID,
    columns.EVENT_TIMESTAMP,
    columns.WATCH_RATIO,
    columns.VIDEO_DURATION,
)
ON_DEMAND = (columns.ALS_SCORE, columns.CATEGORY_LIFT, columns.HOUR_OF_DAY, columns.DAY_OF_WEEK)


def entity_table(plays: pl.DataFrame) -> pa.Table:
    """The entity rows of the join: user_id, video_id, event_timestamp and, the same, interaction_timestamp.

    Args:
        plays: user_id, video_id and event_timestamp, one row per play.
    """
    return plays.select(
        columns.USER_ID,
        columns.VIDEO_ID,
        columns.EVENT_TIMESTAMP,
        pl.col(columns.EVENT_TIMESTAMP).alias(columns.INTERACTION_TIMESTAMP),
    ).to_arrow()


def service_features(store: FeatureStore) -> dict[str, tuple[str, ...]]:
    """The features of the service `hybrid_ranker` by view, in its order, on-demand ones included."""
    service = store.get_feature_service(columns.HYBRID_RANKER)
    return {view.name: tuple(f.name for f in view.features) for view in service.feature_view_projections}


@dataclass(frozen=True)
class Thinned:
    """Some rows of a table: every `step`-th of the first `first` rows, and all that follow."""

    first: int = 0
    step: int = 1

    def of(self, table: pl.DataFrame) -> pl.DataFrame:
        """These rows of a table."""
        if self.step == 1:
            return table
        return pl.concat([table.head(self.first).gather_every(self.step), table[self.first :]])

    def index(self, rows: slice | np.ndarray) -> slice | np.ndarray:
        """The indices, among the kept rows, of rows that are given by their numbers in the table.

        Args:
            rows: a slice of successive rows, of which only the kept ones count; or int [rows], the numbers of
                kept rows.

        Raises:
            IndexError: a number is that of a row that was left out.
        """
        if self.step == 1:
            return rows
        if isinstance(rows, slice):
            return slice(*(self._count_before(number) for number in (rows.start, rows.stop)))
        rows = rows.astype(np.int64)  # Polars numbers rows without a sign
        if (rows[rows < self.first] % self.step).any():
            raise IndexError(f"of these rows, only every {self.step}th was kept")
        kept = self._count_before(self.first)
        return np.where(rows < self.first, rows // self.step, rows + (kept - self.first))

    def _count_before(self, number: int) -> int:
        """The number of kept rows before a row of the table."""
        return -(-min(number, self.first) // self.step) + max(number - self.first, 0)


@dataclass(frozen=True)
class FeatureFrame:
    """The joined features of entity rows, not yet encoded and not yet wide.

    Rows are asked for by their numbers in the table of plays, even if only some of the plays are joined.

    Attributes:
        names: features in service order.
        views: the features of each stored view.
        job: the join.
        instants: int64 microseconds since 1970 UTC, the instant of each row.
        zone: where hours and weekdays are counted.
        thinned: which of the plays are joined.
    """

    names: tuple[str, ...]
    views: Mapping[str, tuple[str, ...]]
    job: AsOfRetrievalJob
    instants: np.ndarray
    zone: ZoneInfo
    thinned: Thinned = Thinned()

    @classmethod
    def join(
        cls, store: FeatureStore, plays: pl.DataFrame, zone: ZoneInfo, thinned: Thinned | None = None
    ) -> "FeatureFrame":
        """Join the features of the service `hybrid_ranker` to plays (user_id, video_id, event_timestamp).

        Args:
            thinned: which of the plays are joined; by default all.

        Raises:
            NightreelError: if the join does not give exactly one row per play.
        """
        thinned = thinned or Thinned()
        plays = thinned.of(plays)
        views = service_features(store)
        service = store.get_feature_service(columns.HYBRID_RANKER)
        stored = {view: names for view, names in views.items() if names[0] not in ON_DEMAND}
        rows = with_groups(store, entity_table(plays), [view for view in stored if is_of_pairs(store, view)])
        job = store.get_historical_features(entity_df=rows, features=service)
        if job.num_rows != plays.height:
            raise NightreelError(
                f"The join gave {job.num_rows} rows for {plays.height} plays.",
                "Choose `feast_asof.AsOfOfflineStore` as the offline store in feature_store.yaml.",
            )
        return cls(
            names=tuple(name for names in views.values() for name in names),
            views=stored,
            job=job,
            instants=plays[columns.EVENT_TIMESTAMP].to_physical().to_numpy(),
            zone=zone,
            thinned=thinned,
        )

    def __len__(self) -> int:
        return len(self.instants)

    def values(self, rows: slice, features: Collection[str]) -> dict[str, pa.Array]:
        """The values of these stored features that the rows use: one per source row, in any order."""
        found: dict[str, pa.Array] = {}
        for view, names in self.views.items():
            requested = [name for name in names if name in features]
            if not requested:
                continue
            used = np.unique(self.job.positions(view)[self.thinned.index(rows)])
            known = pa.array(used[used >= 0])
            found |= {name: self.job.source_column(view, name).take(known) for name in requested}
        return found


def scan_plays(paths: Paths) -> pl.LazyFrame:
    """All interactions in order of time: user_id, video_id, event_timestamp, watch_ratio, video_duration.

    Raises:
        InputError: if ingest has not written the table.
    """
    return scan_days(paths.interactions).select(PLAY_COLUMNS)


def read_plays(paths: Paths) -> pl.DataFrame:
    """The same, in memory."""
    return scan_plays(paths).collect()


def are_validation_users(user_id: np.ndarray, settings: EvaluationSettings, seed: int) -> np.ndarray:
    """Which of these users are validation users, whose figures are not reported: by hash, bool [users]."""
    chosen: np.ndarray = uniform_hash(user_id.astype(np.uint64), seed + 1) < settings.tuning_share
    return chosen
