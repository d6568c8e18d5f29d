"""The users' attributes in the user file, as known at an instant."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import Paths
from pipelines.local_days import INSTANT

ATTRIBUTES = (*columns.USER_CATEGORICALS, *columns.ONEHOT_FEATURES)
UNKNOWN = -1


@dataclass(frozen=True)
class Profiles:
    """The attributes of all users in the file.

    Attributes:
        user_id: int64, ascending.
        codes: int32 [users, ATTRIBUTES], a code for each value of an attribute, UNKNOWN where it has none.
    """

    user_id: np.ndarray
    codes: np.ndarray

    @classmethod
    def known_at(cls, paths: Paths, instant: datetime) -> "Profiles":
        """The attributes that had arrived by the instant; no users if there is no table of them."""
        path = paths.feature_source(columns.USER_PROFILE)
        if not path.is_file():
            return cls(np.zeros(0, np.int64), np.zeros((0, len(ATTRIBUTES)), np.int32))
        known = (
            pl.scan_parquet(path)
            .filter(pl.col(columns.EVENT_TIMESTAMP) <= pl.lit(instant, dtype=INSTANT))
            .sort(columns.USER_ID, columns.EVENT_TIMESTAMP)
            .group_by(columns.USER_ID, maintain_order=True)
            .agg(pl.col(list(ATTRIBUTES)).last())
            .with_columns(
                (pl.col(list(ATTRIBUTES)).rank("dense").cast(pl.Int32) - 1).fill_null(UNKNOWN),
            )
            .collect()
        )
        codes = np.ascontiguousarray(known.select(list(ATTRIBUTES)).to_numpy(), dtype=np.int32)
        return cls(known[columns.USER_ID].to_numpy(), codes)

    def digest(self) -> str:
        """A digest of these attributes, which names what is learnt from them."""
        found = hashlib.blake2b(json.dumps(ATTRIBUTES).encode(), digest_size=12)
        for values in (self.user_id, self.codes):
            found.update(np.ascontiguousarray(values).data)
        return found.hexdigest()
