"""A sample of users whose plays train and judge the models if the log has more plays than fit into memory.

Users are drawn by hash and count with their whole history or not at all, so that histories stay complete.
Features and published lists are always for everybody. docs/scale.md says what a sample costs.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import require_plays, rows_of
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import FitNeeds
from pipelines.hashing import uniform_hash
from pipelines.training_frame import PLAY_COLUMNS, scan_plays

# A play takes some 200 bytes while models are trained: these take 4 GB.
PLAYS_MAX = 16_000_000


@dataclass(frozen=True)
class UserSample:
    """The users who count.

    Attributes:
        share: of the users; 1 where the log is short enough for all of them.
        always: int64, users who are never left out: those of the fully observed pairs.
    """

    share: float
    always: np.ndarray
    seed: int

    @classmethod
    def of(cls, settings: FitNeeds) -> "UserSample":
        """The users whose plays are about PLAYS_MAX, or all users.

        Raises:
            InputError: if ingest has not written the table.
        """
        plays = rows_of(require_plays(settings.paths.interactions))
        matrix = settings.paths.table("fully_observed")
        always: np.ndarray = np.zeros(0, dtype=np.int64)
        if plays > PLAYS_MAX and matrix.is_file():
            ids = pl.scan_parquet(matrix).select(pl.col(columns.USER_ID).unique()).collect()
            always = ids.to_series().to_numpy()
        # Others are drawn with the seeds below.
        return cls(min(1.0, PLAYS_MAX / max(plays, 1)), always, settings.seed + 4)

    def holds(self, user_id: np.ndarray) -> np.ndarray:
        """Which of these users count: bool."""
        if self.share >= 1:
            return np.ones(len(user_id), dtype=np.bool_)
        drawn = uniform_hash(user_id.astype(np.uint64), self.seed) < self.share
        found: np.ndarray = drawn | np.isin(user_id, self.always)
        return found

    def of_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of the users who count, by their user_id."""
        if self.share >= 1:
            return rows
        return rows.filter(pl.Series(self.holds(rows[columns.USER_ID].to_numpy())))

    def read(self, paths: Paths) -> pl.DataFrame:
        """The plays of the users who count, in order of time, as `read_plays` gives those of all users.

        Raises:
            InputError: if ingest has not written the table.
        """
        read = (
            pl.read_parquet(day, columns=list(PLAY_COLUMNS), hive_partitioning=False)
            for day in require_plays(paths.interactions)
        )
        return pl.concat([self.of_rows(plays) for plays in read], rechunk=True)

    def scan(self, paths: Paths) -> pl.LazyFrame:
        """The same, to be read when it is asked for."""
        return scan_plays(paths) if self.share >= 1 else self.read(paths).lazy()

    def remarks(self) -> list[str]:
        """Remarks for readers of figures over these users; empty if they are all users."""
        if self.share >= 1:
            return []
        users = f"{self.share:.1%} of its users, by hash"
        return [f"The log has more than {PLAYS_MAX:,} plays: {users}, train and judge the models."]
