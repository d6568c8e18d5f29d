"""Reads the owner's own tables: videos that are never listed, users without a list, rules for the others."""

from typing import Any

import numpy as np
from sqlalchemy import Column, Connection, select

from nightreel.core import columns
from nightreel.core.ids import Ids, ListIds
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.schema import SCHEMA_VERSION, recorded_version
from scoring.database.tables import blocklist, list_rule, skip_user
from scoring.database.url import database_exists
from scoring.lists.eligibility import Exclusions
from scoring.lists.rules.owner import OwnerRule


def read_exclusions(connection: Connection, ids: ListIds) -> Exclusions:
    """The tables `blocklist`, `skip_user` and `list_rule` as they are now; they apply from this run on."""
    return Exclusions(
        _codes(connection, blocklist.c[columns.VIDEO_ID], ids.video),
        _codes(connection, skip_user.c[columns.USER_ID], ids.user),
        read_rules(connection),
    )


def owner_rules(settings: DatabaseNeeds) -> tuple[OwnerRule, ...]:
    """The rules in the settings' database, for readers only; none if it has no such table yet."""
    if not database_exists(settings):
        return ()
    with reading(settings) as connection:
        return read_rules(connection) if recorded_version(connection) == SCHEMA_VERSION else ()


def read_rules(connection: Connection) -> tuple[OwnerRule, ...]:
    """The table `list_rule`, by rule_id."""
    found = []
    for row in connection.execute(select(list_rule).order_by(list_rule.c.rule_id)):
        segment = None if row.segment_column is None else (row.segment_column, row.segment_value)
        found.append(
            OwnerRule(
                row.rule_id,
                row.kind,
                row.item_kind,
                row.item,
                row.number,
                row.strength,
                segment,
                row.valid_from,
                row.valid_until,
            )
        )
    return tuple(found)


def _codes(connection: Connection, column: "Column[Any]", ids: Ids) -> np.ndarray:
    """The ids in a column, without those that the home does not know yet."""
    found = connection.execute(select(column)).scalars().all()
    return np.array(sorted(ids.codes_of(found).values()), dtype=np.int64)
