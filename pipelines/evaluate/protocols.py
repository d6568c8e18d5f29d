"""Which pairs each protocol ranks, and as of when.

`kuairec`: the fully observed pairs, features as of the end of the training data. `impressions`: what each
user watched in the holdout, features as of its beginning; it needs no fully observed table, and it ranks only
what was shown, which says nothing of a list from the whole catalogue: `next_day` does. No model has seen an
outcome of either: the fully observed pairs are not in the log, and the holdout trained nothing. A hashed
share of the users are validation users, and only the others are reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import EvaluationSettings
from nightreel.core.settings.needs import FitNeeds, RankerNeeds
from pipelines.local_days import INSTANT, ends_of_days
from pipelines.metrics.orders import runs
from pipelines.model_registry import ModelVersion
from pipelines.rankers.slices import days_of_table, time_cuts
from pipelines.training_frame import PLAY_COLUMNS, are_validation_users, scan_plays
from pipelines.user_sample import UserSample

KUAIREC = "kuairec"
IMPRESSIONS = "impressions"
# What each protocol ranks, for readers of its figures.
RANKED: dict[str, str] = {
    KUAIREC: "all videos of the fully observed matrix for each of its users",
    IMPRESSIONS: "only what was shown: the videos that each user went on to watch, not the whole catalogue",
}


@dataclass(frozen=True)
class Pairs:
    """The pairs of a protocol: user_id, video_id, watch_ratio, video_duration, each pair once, sorted.

    Attributes:
        as_of: the instant of the features, UTC.
        catalogue: the number of videos that a user's pairs are drawn from.
        history: the plays before as_of of the users who count, in order of time; read lazily where these are
            all users, since they are most of the data.
    """

    protocol: str
    as_of: datetime
    rows: pl.DataFrame
    catalogue: int
    history: pl.LazyFrame

    def is_tuning(self, settings: EvaluationSettings, seed: int) -> np.ndarray:
        """Which pairs are of validation users: bool [pairs]."""
        # Rows are by user, so each user is asked for once.
        users, starts = runs(self.rows[columns.USER_ID].to_numpy())
        return np.repeat(are_validation_users(users, settings, seed), np.diff(starts))


def protocol_pairs(settings: RankerNeeds, model: ModelVersion) -> Iterator[Pairs]:
    """The pairs of every protocol that the data allows, one protocol after the other.

    Raises:
        InputError: if ingest has not run.
    """
    if settings.paths.table("fully_observed").is_file():
        yield kuairec_pairs(settings)
    # A champion trained with other settings may have seen plays after today's cut: only later ones count.
    yield impression_pairs(max(holdout_from(settings), model.fitted_before), settings)


def holdout_from(settings: RankerNeeds) -> datetime:
    """When the holdout of today's settings begins. Raises InputError where ingest has not run."""
    days = days_of_table(settings.paths.interactions)
    return time_cuts(days, settings.data, settings.evaluation).holdout_from


def kuairec_pairs(settings: FitNeeds) -> Pairs:
    """The fully observed pairs, as of the end of the last play's day."""
    pairs = pl.read_parquet(
        settings.paths.table("fully_observed"),
        columns=[name for name in PLAY_COLUMNS if name != columns.EVENT_TIMESTAMP],
    )
    newest = scan_plays(settings.paths).select(pl.col(columns.EVENT_TIMESTAMP).max())
    end = ends_of_days(newest.collect(engine="streaming").to_series(), settings.data.zone)[0]
    history = UserSample.of(settings).scan(settings.paths)
    return Pairs(KUAIREC, end, _once(pairs), pairs[columns.VIDEO_ID].n_unique(), history)


def impression_pairs(cut: datetime, settings: FitNeeds) -> Pairs:
    """What each user of the sample was shown from `cut` on, as of then."""
    plays = UserSample.of(settings).scan(settings.paths)
    is_before = pl.col(columns.EVENT_TIMESTAMP) < pl.lit(cut, dtype=INSTANT)
    rows = _once(plays.filter(~is_before).drop(columns.EVENT_TIMESTAMP).collect())
    catalogue = plays.select(pl.col(columns.VIDEO_ID).n_unique()).collect().item()
    return Pairs(IMPRESSIONS, cut, rows, catalogue, plays.filter(is_before))


def _once(plays: pl.DataFrame) -> pl.DataFrame:
    """Each pair once, by its first row."""
    keys = [columns.USER_ID, columns.VIDEO_ID]
    user, video = (plays[key].to_numpy() for key in keys)
    is_next_video = (user[1:] == user[:-1]) & (video[1:] > video[:-1])
    if (is_next_video | (user[1:] > user[:-1])).all():
        # KuaiRec's small_matrix has each pair once already; to check this takes a gigabyte less than
        # `unique`.
        return plays
    return plays.unique(keys, keep="first", maintain_order=True).sort(keys)
