"""Which pairs each protocol ranks, and as of when.

`kuairec`: the fully observed pairs, features as of the end of the training data. `temporal`: what each user
watched in the holdout, features as of its beginning; it needs no fully observed table. No model has seen an
outcome of either: the fully observed pairs are not in the log, and the holdout trained nothing. A hashed
share of the users chooses settings, and only the others are reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import INSTANT, ends_of_days
from pipelines.model_registry import ModelVersion
from pipelines.rankers.slices import time_cuts
from pipelines.training_frame import PLAY_COLUMNS, of_sampled_users, read_plays, uniform_hash

KUAIREC = "kuairec"
TEMPORAL = "temporal"


@dataclass(frozen=True)
class Pairs:
    """The pairs of a protocol: user_id, video_id, watch_ratio, video_duration, each pair once, sorted.

    catalogue: the number of videos that each user's pairs are all or a part of. history: the plays before
    as_of, in order of time.
    """

    protocol: str
    as_of: datetime
    rows: pl.DataFrame
    catalogue: int
    history: pl.DataFrame

    def is_tuning(self, settings: Settings) -> np.ndarray:
        """Which pairs are of users that choose settings, by a hash of the user: bool [pairs]."""
        # Another seed than that of samples, or a sample of users would hold only those that choose.
        users = self.rows[columns.USER_ID].to_numpy().astype(np.uint64)
        chosen: np.ndarray = uniform_hash(users, settings.seed + 1) < settings.tuning_share
        return chosen


def protocol_pairs(settings: Settings, model: ModelVersion) -> Iterator[Pairs]:
    """The pairs of every protocol that the data allows, one protocol after the other.

    Raises InputError where ingest has not run.
    """
    plays = read_plays(settings)
    if settings.paths.table("fully_observed").is_file():
        yield kuairec_pairs(plays, settings)
    yield temporal_pairs(plays, _unseen_from(plays, settings, model), settings)


def kuairec_pairs(plays: pl.DataFrame, settings: Settings) -> Pairs:
    """The fully observed pairs, as of the end of the last play's day. plays: as `read_plays` gives them."""
    pairs = pl.read_parquet(
        settings.paths.table("fully_observed"),
        columns=[name for name in PLAY_COLUMNS if name != columns.EVENT_TIMESTAMP],
    )
    end = ends_of_days(plays[columns.EVENT_TIMESTAMP].tail(1), settings.zone)[0]
    return Pairs(KUAIREC, end, _once(pairs, settings), pairs[columns.VIDEO_ID].n_unique(), plays)


def _unseen_from(plays: pl.DataFrame, settings: Settings, model: ModelVersion) -> datetime:
    """From when on the model has seen no outcome, in the holdout of today's settings."""
    # A champion of newer settings may have trained beyond today's cut: then only what it has not seen counts.
    return max(
        time_cuts(plays[columns.EVENT_TIMESTAMP], settings).holdout_from,
        datetime.fromisoformat(model.manifest["data"]["holdout_from"]),
    )


def temporal_pairs(plays: pl.DataFrame, cut: datetime, settings: Settings) -> Pairs:
    """What each user watched from `cut` on, as of then. plays: as `read_plays` gives them."""
    start = plays[columns.EVENT_TIMESTAMP].search_sorted(pl.select(pl.lit(cut, dtype=INSTANT)).item())
    rows = _once(plays[start:].drop(columns.EVENT_TIMESTAMP), settings)
    return Pairs(TEMPORAL, cut, rows, plays[columns.VIDEO_ID].n_unique(), plays[:start])


def times_of_tested_watches(rows: pl.DataFrame, settings: Settings) -> pl.Series:
    """When these pairs of `kuairec` were watched, null where that is not known: for `as-published` alone.

    rows: user_id, video_id, each pair once. Returns event_timestamp in their order.
    """
    keys = [columns.USER_ID, columns.VIDEO_ID]
    own = rows.lazy().select(keys)
    times = (
        pl.scan_parquet(settings.paths.table("fully_observed"))
        .select(*keys, pl.col(columns.EVENT_TIMESTAMP).cast(INSTANT))
        .filter(pl.col(columns.USER_ID).is_in(rows[columns.USER_ID].unique().implode()))
        .unique(keys, keep="first", maintain_order=True)
    )
    joined = own.join(times, on=keys, how="left", maintain_order="left").collect()
    return joined[columns.EVENT_TIMESTAMP]


def _once(plays: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Each pair once, by its first row, of the sampled users."""
    sampled = of_sampled_users(plays, settings.test_sample, settings.seed)
    keys = [columns.USER_ID, columns.VIDEO_ID]
    return sampled.unique(keys, keep="first", maintain_order=True).sort(keys)
