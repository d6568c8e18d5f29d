"""A sample of the plays of a span of days: features known at each play, the model's scores, the outcome."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow.compute as pc

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings.needs import FitNeeds
from pipelines.hashing import uniform_hash
from pipelines.labels import LengthBuckets, is_liked
from pipelines.local_days import INSTANT
from pipelines.model_registry import ModelVersion
from pipelines.rankers import HybridRanker
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.training_frame import FeatureFrame, scan_plays

ROWS_MAX = 20_000
CLASSIFIER, REGRESSOR = "classifier score", "regressor score"


@dataclass(frozen=True)
class Column:
    """One feature or score over a sample.

    Attributes:
        values: float [rows], NaN if missing; codes for a categorical feature.
        units: number of distinct rows of the feature's source, as all plays of a user have the same profile.
        unknown: share of rows whose category is unknown from training; their value is NaN.
    """

    name: str
    values: np.ndarray
    is_categorical: bool
    units: int
    unknown: float


@dataclass(frozen=True)
class Sample:
    """A sample of plays.

    Attributes:
        plays: number of all plays in the span.
        liked: share of them that were liked.
        columns: over at most ROWS_MAX rows.
    """

    plays: int
    liked: float
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, start: datetime, end: datetime, version: ModelVersion, settings: FitNeeds) -> "Sample":
        """Sample the plays from `start` to before `end`, chosen by a hash of the pair and the instant.

        Each row's features are those known strictly before its play, encoded and scored as the version does.
        """
        stamp = pl.col(columns.EVENT_TIMESTAMP)
        span = (stamp >= pl.lit(start, dtype=INSTANT)) & (stamp < pl.lit(end, dtype=INSTANT))
        plays = scan_plays(settings.paths).filter(span).collect()
        if plays.is_empty():
            return cls(0, float("nan"), ())
        buckets = LengthBuckets.load(version.folder)
        ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
        liked = is_liked(settings.data.targets.label, buckets, ratio, length, settings.data)
        frame = FeatureFrame.join(open_store(), _thinned(plays, settings.seed), settings.data.zone)
        ranker = HybridRanker.load(version.folder, threads=settings.threads)
        return cls(plays.height, float(liked.mean()), tuple(_columns(frame, ranker)))


def _thinned(plays: pl.DataFrame, seed: int) -> pl.DataFrame:
    if plays.height <= ROWS_MAX:
        return plays
    key = plays.select(columns.USER_ID, columns.VIDEO_ID, pl.col(columns.EVENT_TIMESTAMP).to_physical())
    order = uniform_hash(key.hash_rows(seed=seed).to_numpy(), seed)
    return plays[np.sort(np.argpartition(order, ROWS_MAX)[:ROWS_MAX])]


def _columns(frame: FeatureFrame, ranker: HybridRanker) -> Iterator[Column]:
    matrix = FeatureMatrix(frame, ranker.encoding)[:]
    for view, names in frame.views.items():
        positions = frame.job.positions(view)
        units = len(np.unique(positions))
        for name in names:
            is_valid = np.asarray(pc.is_valid(frame.job.source_column(view, name)))
            # Position -1, no value, is the last entry.
            is_there = np.append(is_valid, False)[positions]
            values = matrix[:, frame.names.index(name)]
            unknown = float((is_there & np.isnan(values)).mean())
            yield Column(name, values, name in ranker.encoding.categories, units, unknown)
    # The weekday is left out, because a single day has only one.
    for name in (columns.HOUR_OF_DAY, columns.ALS_SCORE):
        yield Column(name, matrix[:, frame.names.index(name)], False, len(matrix), 0.0)
    yield Column(CLASSIFIER, ranker.classify(matrix), False, len(matrix), 0.0)
    yield Column(REGRESSOR, ranker.regress(matrix), False, len(matrix), 0.0)
