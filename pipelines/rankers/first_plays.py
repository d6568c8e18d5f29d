"""What is ranked of a part of the log: each user's first play of each video in it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel import columns
from pipelines.training_frame import uniform_hash


@dataclass(frozen=True)
class FirstPlays:
    """First plays, in order of time, an entry each. rows: their numbers among all plays."""

    rows: np.ndarray
    user_id: np.ndarray
    video_id: np.ndarray

    @classmethod
    def of(cls, plays: pl.DataFrame, part: slice, *, most: int | None = None, seed: int = 0) -> "FirstPlays":
        """Those of `plays[part]`; where they are more than about `most`, of a share of the users, by hash."""
        numbered = plays[part].with_row_index("row", offset=part.start)
        first = numbered.unique([columns.USER_ID, columns.VIDEO_ID], keep="first", maintain_order=True)
        if most is not None and first.height > most:
            users = first[columns.USER_ID].to_numpy().astype(np.uint64)
            first = first.filter(pl.Series(uniform_hash(users, seed) < most / first.height))
        row, user, video = (first[name].to_numpy() for name in ("row", columns.USER_ID, columns.VIDEO_ID))
        return cls(row, user, video)
