"""Facts about videos at the instant of an evaluation, for list properties and for slices."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Paths
from pipelines.evaluate.history import History
from pipelines.evaluate.protocols import Pairs
from pipelines.local_days import INSTANT, day_before
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
    def of(cls, pairs: Pairs, history: History, paths: Paths, settings: DataSettings) -> "Videos":
        """The videos of these pairs, as of their instant."""
        lengths = pairs.rows.group_by(columns.VIDEO_ID).agg(pl.col(columns.VIDEO_DURATION).first())
        is_known = pl.Series(history.views > 0)
        watched = pl.DataFrame(
            {columns.VIDEO_ID: history.video_id, "views": history.views, "viewers": history.viewers}
        ).with_columns(pl.when(is_known).then(pl.Series(history.first_us)).cast(INSTANT).alias("first_play"))
        rows = (
            lengths.join(watched, on=columns.VIDEO_ID, how="left")
            .join(upload_days(paths).collect(), on=columns.VIDEO_ID, how="left")
            .join(_categories(paths), on=columns.VIDEO_ID, how="left")
            .sort(columns.VIDEO_ID)
            .with_columns(pl.col("category").fill_null(_UNKNOWN))
        )
        views = rows["views"].to_numpy().astype(np.float64)
        viewers = rows["viewers"].to_numpy()
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
            novelty=-np.log2((viewers + 1) / (len(history.user_id) + 1)),
            category=np.searchsorted(names, rows["category"].to_numpy()),
            category_names=names,
        )


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
