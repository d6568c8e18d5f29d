"""Facts about videos and users at the instant of an evaluation, for list properties and for slices."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Paths
from pipelines.evaluate.protocols import Pairs
from pipelines.local_days import day_before
from pipelines.uploads import upload_days

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Videos:
    """Properties of the videos of a trial, one entry a video in each array, by `video_id` ascending.

    Attributes:
        length_s, age_days: float64, in seconds and days; NaN where unknown.
        views: the number of plays before the instant.
        popularity: percentile of the views, 0 for the least watched of these videos, 1 for the most.
        novelty: -log2 of the share of users who had watched it.
        category: code into category_names.
    """

    video_id: np.ndarray
    length_s: np.ndarray
    age_days: np.ndarray
    views: np.ndarray
    popularity: np.ndarray
    novelty: np.ndarray
    category: np.ndarray
    category_names: tuple[str, ...]

    @classmethod
    def of(cls, pairs: Pairs, paths: Paths, settings: DataSettings) -> "Videos":
        """The videos of these pairs, as of their instant."""
        lengths = pairs.rows.group_by(columns.VIDEO_ID).agg(pl.col(columns.VIDEO_DURATION).first())
        watched = pairs.history.group_by(columns.VIDEO_ID).agg(
            pl.len().alias("views"),
            pl.col(columns.USER_ID).n_unique().alias("viewers"),
            pl.col(columns.EVENT_TIMESTAMP).min().alias("first_play"),
        )
        rows = (
            lengths.join(watched.collect(), on=columns.VIDEO_ID, how="left")
            .join(upload_days(paths).collect(), on=columns.VIDEO_ID, how="left")
            .join(_categories(paths), on=columns.VIDEO_ID, how="left")
            .sort(columns.VIDEO_ID)
            .with_columns(pl.col("views", "viewers").fill_null(0), pl.col("category").fill_null(_UNKNOWN))
        )
        views = rows["views"].to_numpy().astype(np.float64)
        viewers = rows["viewers"].to_numpy()
        users = pairs.history.select(pl.col(columns.USER_ID).n_unique()).collect().item()
        local_day = day_before(pairs.as_of, settings.zone)
        first_day = pl.col("first_play").dt.convert_time_zone(settings.time_zone).dt.date()
        # A video that is not known yet is as new as possible.
        known_since = pl.coalesce(pl.col(columns.UPLOAD_DATE), first_day, pl.lit(local_day))
        age = rows.select((pl.lit(local_day) - known_since).dt.total_days().clip(0)).to_series()
        names = tuple(sorted(rows["category"].unique()))
        return cls(
            video_id=rows[columns.VIDEO_ID].to_numpy(),
            length_s=rows[columns.VIDEO_DURATION].cast(pl.Float64).to_numpy() / 1000,
            age_days=age.cast(pl.Float64).to_numpy(),
            views=views,
            popularity=(rows["views"].rank("average").to_numpy() - 1) / max(rows.height - 1, 1),
            novelty=-np.log2((viewers + 1) / (users + 1)),
            category=np.searchsorted(names, rows["category"].to_numpy()),
            category_names=names,
        )


def plays_of_users(pairs: Pairs, user_id: np.ndarray) -> np.ndarray:
    """The number of plays each of these users had before the instant: int64 [users]."""
    counts = pairs.history.group_by(columns.USER_ID).agg(pl.len().alias("plays")).collect()
    joined = pl.DataFrame({columns.USER_ID: user_id}).join(
        counts, on=columns.USER_ID, how="left", maintain_order="left"
    )
    return joined["plays"].fill_null(0).cast(pl.Int64).to_numpy()


def _categories(paths: Paths) -> pl.DataFrame:
    """Each video's first-level category by name, or by number where there are no names."""
    path = paths.table("video_captions")
    name, code = columns.CATEGORY_NAMES[0], columns.CATEGORY_LEVELS[0]
    known = pl.read_parquet_schema(path) if path.is_file() else {}
    parts = [pl.col(column).cast(pl.String) for column in (name, code) if column in known]
    if not parts:
        return pl.DataFrame(schema={columns.VIDEO_ID: pl.Int64, "category": pl.String})
    table = pl.read_parquet(path)
    return table.select(pl.col(columns.VIDEO_ID).cast(pl.Int64), pl.coalesce(parts).alias("category"))
