"""Reads the owner's own tables: videos in nobody's list, and users without one."""

import numpy as np
from sqlalchemy import Column, Connection, select

from nightreel.core import columns
from scoring.database.tables import blocklist, skip_user
from scoring.lists.eligibility import KeptOff


def read_kept_off(connection: Connection) -> KeptOff:
    """The tables `blocklist` and `skip_user` as they are now: what is in them counts from this run on."""
    return KeptOff(
        _ids(connection, blocklist.c[columns.VIDEO_ID]), _ids(connection, skip_user.c[columns.USER_ID])
    )


def _ids(connection: Connection, column: "Column[int]") -> np.ndarray:
    return np.array(connection.execute(select(column).order_by(column)).scalars().all(), dtype=np.int64)
