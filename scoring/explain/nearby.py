"""The user's plays that are most similar to a video: by who liked both, by ALS factors, by captions."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from pipelines.labels import buckets_for, is_liked
from pipelines.local_days import INSTANT
from pipelines.model_rows.night import Night
from pipelines.retrieval.item_knn import SparseNeighbours
from scoring.explain.explanation import Nearby

_PLAYED_MAX = 500  # of a user's videos, those played last
_NEAREST = 3  # by each measure
_KNN, _ALS, _TEXT = "item_knn", "als", "text"


def nearby_played(
    plays: pl.DataFrame,
    user_id: int,
    video_id: int,
    *,
    as_of: datetime,
    store: FeatureStore,
    night: Night | None,
    settings: DataSettings,
) -> tuple[Nearby, ...]:
    """The played videos nearest to one, by each measure that knows both; without captions.

    Args:
        plays: the log strictly before the instant.
        user_id, video_id: the home's codes.
    """
    played = _played(plays, user_id, video_id, settings)
    if played.is_empty():
        return ()
    ids = played[columns.VIDEO_ID].to_numpy()
    found: list[tuple[int, str, float]] = []
    for by, nearness in _measures(store, night, ids, video_id, as_of):
        order = np.argsort(-nearness, kind="stable")[:_NEAREST]
        found += [(at, by, float(nearness[at])) for at in order.tolist() if nearness[at] > 0]
    return tuple(
        Nearby(
            row[columns.VIDEO_ID],
            by,
            nearness,
            row[columns.EVENT_TIMESTAMP],
            row[columns.WATCH_RATIO],
            row["liked"],
            None,
        )
        for at, by, nearness in found
        for row in [played.row(at, named=True)]
    )


def _played(plays: pl.DataFrame, user_id: int, video_id: int, settings: DataSettings) -> pl.DataFrame:
    """Each video that the user had played, but the one asked about, with its last play; newest first."""
    ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    buckets = buckets_for(settings.targets.label, ratio, length)
    own = plays.filter(pl.col(columns.USER_ID) == user_id, pl.col(columns.VIDEO_ID) != video_id)
    own = own.unique(columns.VIDEO_ID, keep="last", maintain_order=True).reverse().head(_PLAYED_MAX)
    ratio, length = (own[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    liked = is_liked(settings.targets.label, buckets, ratio, length, settings)
    return own.with_columns(pl.Series("liked", liked))


def _measures(
    store: FeatureStore, night: Night | None, ids: np.ndarray, video_id: int, as_of: datetime
) -> Iterator[tuple[str, np.ndarray]]:
    """Each measure's name and how near each played video is: float64 [played], 0 where it is unknown."""
    source = None if night is None else night.sources.get(_KNN)
    if night is not None and isinstance(source, SparseNeighbours):
        catalogue = night.catalogue.video_id
        rows, column = np.searchsorted(catalogue, ids), int(np.searchsorted(catalogue, video_id))
        if column < len(catalogue) and catalogue[column] == video_id:
            yield _KNN, source.neighbours[rows, column].toarray().ravel().astype(np.float64)
    both = np.append(ids, video_id)
    factors = _features(store, both, as_of, columns.VIDEO_FACTORS, [columns.VIDEO_FACTOR])
    yield _ALS, _cosines(_of_lists(factors.column(columns.VIDEO_FACTOR)))
    texts = _features(store, both, as_of, columns.VIDEO_TEXT, list(columns.TEXT_FEATURES))
    columns_of = [texts.column(name).to_numpy().astype(np.float64) for name in columns.TEXT_FEATURES]
    yield _TEXT, _cosines(np.column_stack(columns_of))


def _features(
    store: FeatureStore, video_id: np.ndarray, as_of: datetime, view: str, names: list[str]
) -> pa.Table:
    asked = pl.DataFrame({columns.VIDEO_ID: video_id}).with_columns(
        pl.lit(as_of, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
    )
    job = store.get_historical_features(
        entity_df=asked.to_arrow(), features=[f"{view}:{name}" for name in names]
    )
    found: pa.Table = job.to_arrow()
    return found


def _of_lists(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.to_pylist()
    width = max((len(one) for one in lists if one is not None), default=1)
    return np.array([np.full(width, np.nan) if one is None else one for one in lists], dtype=np.float64)


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """The cosine of each but the last with the last: float64, 0 where either is unknown or of no length."""
    known = np.nan_to_num(vectors)
    lengths = np.linalg.norm(known, axis=1)
    products = known[:-1] @ known[-1]
    scale = lengths[:-1] * lengths[-1]
    found: np.ndarray = np.divide(products, scale, out=np.zeros(len(products)), where=scale > 0)
    return found
