"""What is known about videos at a cutoff besides their plays: author, categories and text."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings.needs import HomeNeeds
from pipelines.local_days import INSTANT

_GROUPS_MIN = 2  # a group of one video tells no more than the video


@dataclass(frozen=True)
class ItemFacts:
    """Videos, those without a play included.

    Attributes:
        video_id: int64, ascending.
        groups: int32 [videos, kinds], codes of author and categories; 0 stands for unknown.
        group_key: int64 [codes], ascending, the id and kind of each code, by which nights' codes are matched.
        text: float32 [videos, dimensions].
    """

    video_id: np.ndarray
    groups: np.ndarray
    group_key: np.ndarray
    text: np.ndarray


def item_facts(played: np.ndarray, cutoff: datetime, settings: HomeNeeds) -> ItemFacts:
    """Facts known by the cutoff about these videos and about all others of the catalogue.

    Args:
        played: video_id of those that had been played.
    """
    kinds = (columns.AUTHOR_ID, *columns.CATEGORY_LEVELS)
    profile = _last_known(settings, columns.VIDEO_PROFILE, kinds, cutoff)
    text = _last_known(settings, columns.VIDEO_TEXT, columns.TEXT_FEATURES, cutoff)
    video_id = np.union1d(played, profile[columns.VIDEO_ID].to_numpy())
    every = pl.DataFrame({columns.VIDEO_ID: video_id})
    profile = every.join(profile, on=columns.VIDEO_ID, how="left", maintain_order="left")
    vectors = every.join(text, on=columns.VIDEO_ID, how="left", maintain_order="left").drop(columns.VIDEO_ID)
    keys = np.column_stack(
        [
            _keys(profile[kind].cast(pl.Int64).fill_null(-1).to_numpy(), number, len(kinds))
            for number, kind in enumerate(kinds)
        ]
    )
    group_key, codes = np.unique(np.append(0, keys.ravel()), return_inverse=True)
    return ItemFacts(
        video_id,
        codes[1:].reshape(keys.shape).astype(np.int32),
        group_key,
        vectors.fill_null(0.0).to_numpy().astype(np.float32),
    )


def _keys(ids: np.ndarray, kind: int, kinds: int) -> np.ndarray:
    """Each id with its kind; 0 where it is unknown or has too few videos."""
    known, code, count = np.unique(ids, return_inverse=True, return_counts=True)
    kept = (known >= 0) & (count >= _GROUPS_MIN)
    return np.where(kept, known * kinds + kind + 1, 0)[code]


def _last_known(settings: HomeNeeds, view: str, names: tuple[str, ...], cutoff: datetime) -> pl.DataFrame:
    path = settings.paths.feature_source(view)
    if not path.is_file():
        return pl.DataFrame(schema={columns.VIDEO_ID: pl.Int64} | dict.fromkeys(names, pl.Int64))
    return (
        pl.scan_parquet(path)
        .filter(pl.col(columns.EVENT_TIMESTAMP) <= pl.lit(cutoff, dtype=INSTANT))
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .group_by(columns.VIDEO_ID, maintain_order=True)
        .agg(pl.col(name).drop_nulls().last() for name in names)
        .collect()
    )
