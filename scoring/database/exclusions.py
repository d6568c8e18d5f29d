"""Reads the owner's own tables: videos in nobody's list, and users without one."""

from typing import Any

import numpy as np
from sqlalchemy import Column, Connection, select

from nightreel.core import columns
from nightreel.core.ids import Ids, ListIds
from scoring.database.tables import blocklist, skip_user
from scoring.lists.eligibility import Exclusions


def read_exclusions(connection: Connection, ids: ListIds) -> Exclusions:
    """The tables `blocklist` and `skip_user` as they are now: what is in them counts from this run on."""
    return Exclusions(
        _codes(connection, blocklist.c[columns.VIDEO_ID], ids.video),
        _codes(connection, skip_user.c[columns.USER_ID], ids.user),
    )


def _codes(connection: Connection, column: "Column[Any]", ids: Ids) -> np.ndarray:
    """What is in a column; an id that is not known yet is of no video and of no user."""
    found = connection.execute(select(column)).scalars().all()
    return np.array(sorted(ids.codes_of(found).values()), dtype=np.int64)
