"""The owner's rules in the table `list_rule`: added if they are complete, listed and removed."""

import math
from datetime import UTC, datetime
from typing import TypedDict

import polars as pl
from sqlalchemy import delete, func, insert, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.log_layout import user_column
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading, sql_engine
from scoring.database.exclusions import read_rules
from scoring.database.failures import translate_errors
from scoring.database.schema import require_current, upgrade_database
from scoring.database.tables import list_rule
from scoring.database.url import database_url
from scoring.lists.rules.owner import (
    AT_MOST,
    AUTHOR,
    BOOST,
    CATEGORY,
    DEMOTE,
    ITEM_KINDS,
    KINDS,
    PIN,
    VIDEO,
    OwnerRule,
)

_NUMBER_MAX = 10_000

# A rule as `nightreel rules list --json` prints it; its keys are public.
RuleRow = TypedDict(
    "RuleRow",
    {
        "rule": int,
        "kind": str,
        "of": str,
        "item": str,
        "number": int | None,
        "strength": float | None,
        "segment": str | None,
        "from": datetime | None,
        "until": datetime | None,
        "in_force": bool,
        "reason": str | None,
    },
)


def list_rules(settings: DatabaseNeeds, now: datetime | None = None) -> list[RuleRow]:
    """Every rule by its number, and whether it is in force now. Raises InputError without a database."""
    now = now or datetime.now(UTC)
    with reading(settings) as connection:
        require_current(connection)
        rules = read_rules(connection)
        reasons = dict(connection.execute(select(list_rule.c.rule_id, list_rule.c.reason)).all())
    return [_as_row(rule, reasons[rule.rule_id], now) for rule in rules]


def _as_row(rule: OwnerRule, reason: str | None, now: datetime) -> RuleRow:
    return {
        "rule": rule.rule_id,
        "kind": rule.kind,
        "of": rule.item_kind,
        "item": rule.item,
        "number": rule.number,
        "strength": rule.strength,
        "segment": None if rule.segment is None else "=".join(rule.segment),
        "from": rule.valid_from,
        "until": rule.valid_until,
        "in_force": rule.is_in_force(now),
        "reason": reason,
    }


def add_rule(settings: DatabaseNeeds, rule: OwnerRule, reason: str | None = None) -> int:
    """Add a rule, which applies from the next run on; returns its number.

    Raises:
        InputError: the rule is malformed, or names an item or segment that this home does not have.
    """
    _require_rule(rule)
    _require_known(settings.paths, rule)
    upgrade_database(settings)
    column, value = rule.segment or (None, None)
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        rule_id = 1 + (connection.execute(select(func.max(list_rule.c.rule_id))).scalar() or 0)
        connection.execute(
            insert(list_rule).values(
                rule_id=rule_id,
                kind=rule.kind,
                item_kind=rule.item_kind,
                item=rule.item,
                number=rule.number,
                strength=rule.strength,
                segment_column=column,
                segment_value=value,
                valid_from=rule.valid_from,
                valid_until=rule.valid_until,
                reason=reason,
            )
        )
    return int(rule_id)


def remove_rule(settings: DatabaseNeeds, rule_id: int) -> None:
    """Remove a rule, from the next run on. Raises InputError if there is no rule with this number."""
    with reading(settings) as connection:
        require_current(connection)
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        if not connection.execute(delete(list_rule).where(list_rule.c.rule_id == rule_id)).rowcount:
            raise InputError(
                f"Rule {rule_id}: there is no such rule.", "`nightreel rules list` has their numbers."
            )


def _require_rule(rule: OwnerRule) -> None:
    if rule.kind not in KINDS:
        raise InputError(f"{rule.kind}: no kind of rule.", f"Write one of {', '.join(KINDS)}.")
    if rule.item_kind not in ITEM_KINDS or (rule.kind == PIN and rule.item_kind != VIDEO):
        raise InputError(
            f"{rule.kind} of a {rule.item_kind}: there is no such rule.",
            "A pin is for a video: give --video.",
        )
    moves = rule.kind in (BOOST, DEMOTE)
    strength = rule.strength
    if moves and (
        strength is None or not math.isfinite(strength) or strength <= 1 or rule.number is not None
    ):
        raise InputError(
            f"{rule.kind}: needs a strength above 1, and no number.",
            "Write --by 2 to halve the position, or to double it.",
        )
    least = 0 if rule.kind == AT_MOST else 1
    if not moves and (strength is not None or rule.number is None or not least <= rule.number <= _NUMBER_MAX):
        raise InputError(
            f"{rule.kind}: needs a number of {least} to {_NUMBER_MAX}, and no strength.",
            "Write --rank 3 for a pin, --rows 3 for a quota.",
        )
    if rule.valid_from is not None and rule.valid_until is not None and rule.valid_from >= rule.valid_until:
        raise InputError(f"{rule.kind}: it ends before it begins.", "Swap --from and --until.")


def _require_known(paths: Paths, rule: OwnerRule) -> None:
    """Refuse texts that are no id or no column; an unknown item is accepted, as a delivery may bring it."""
    if rule.item_kind in (VIDEO, AUTHOR):
        column = {VIDEO: columns.VIDEO_ID, AUTHOR: columns.AUTHOR_ID}[rule.item_kind]
        Ids.of(paths, column).given(rule.item)
    if rule.item_kind == CATEGORY and not rule.item.strip():
        raise InputError("category '': every category has a name.", "Write its name, or its number.")
    users = paths.table("users")
    if rule.segment is not None and users.is_file():
        names = pl.scan_parquet(users).collect_schema().names()
        if user_column(rule.segment[0], names) not in names:
            raise InputError(
                f"segment {rule.segment[0]}: the users' table has no such column.",
                f"It has {', '.join(name for name in names if name != columns.CREATED_TIMESTAMP)}.",
            )
