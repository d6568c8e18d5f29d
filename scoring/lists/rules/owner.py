"""The owner's rules as the table `list_rule` has them, and what they say of one night's users and videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

PIN, BOOST, DEMOTE, AT_LEAST, AT_MOST = "pin", "boost", "demote", "at_least", "at_most"
KINDS = (PIN, BOOST, DEMOTE, AT_LEAST, AT_MOST)
VIDEO, AUTHOR, CATEGORY = "video", "author", "category"
ITEM_KINDS = (VIDEO, AUTHOR, CATEGORY)


@dataclass(frozen=True)
class OwnerRule:
    """A row of `list_rule`, in force from `valid_from` to before `valid_until`.

    Attributes:
        item: an id of the kind, or a category's name.
        number: a pin's rank, or a quota's number of rows.
        strength: what a position is divided by (boost) or multiplied by (demote).
        segment: a column of the users' table and its value; None for all users.
    """

    rule_id: int
    kind: str
    item_kind: str
    item: str
    number: int | None = None
    strength: float | None = None
    segment: tuple[str, str] | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def name(self) -> str:
        """The name used in rows of lists."""
        return f"{self.kind}:{self.rule_id}"

    def is_in_force(self, as_of: datetime) -> bool:
        """Whether it applies to lists as of an instant."""
        begun = self.valid_from is None or self.valid_from <= as_of
        return begun and (self.valid_until is None or as_of < self.valid_until)


@dataclass(frozen=True)
class NightRule:
    """A rule in force.

    Attributes:
        videos: bool [videos of the candidates], those that it is about.
        users: int64, ascending, ids of the users whose lists it applies to; None for all.
    """

    name: str
    kind: str
    videos: np.ndarray
    number: int = 0
    strength: float = 1.0
    users: np.ndarray | None = None

    def is_for(self, user_id: np.ndarray) -> np.ndarray:
        """Whether it applies to each of these users: bool [users]."""
        if self.users is None:
            return np.ones(len(user_id), dtype=bool)
        found: np.ndarray = np.isin(user_id, self.users)
        return found


@dataclass(frozen=True)
class NightRules:
    """All rules in force, by id; `remarks` has a line for each that has no effect."""

    rules: tuple[NightRule, ...] = ()
    remarks: tuple[str, ...] = ()

    def of_kind(self, *kinds: str) -> tuple[NightRule, ...]:
        """Those of the given kinds."""
        return tuple(rule for rule in self.rules if rule.kind in kinds)


NO_RULES = NightRules()


def in_force(
    rules: Sequence[OwnerRule],
    as_of: datetime,
    *,
    top_k: int,
    items: Mapping[str, Mapping[str, np.ndarray]],
    users_of: Mapping[tuple[str, str], np.ndarray | None],
) -> NightRules:
    """The rules of a night.

    Args:
        items: kind of item -> its value in a rule -> bool [videos of the candidates]; missing values match no
            video.
        users_of: segment (column, value) -> ids of its users; None if the table lacks the column.
    """
    found, remarks = [], []
    for rule in sorted(rules, key=lambda one: one.rule_id):
        if not rule.is_in_force(as_of):
            continue
        videos = items[rule.item_kind].get(rule.item)
        users = None if rule.segment is None else users_of[rule.segment]
        if videos is None or not videos.any():
            remarks.append(
                f"rule {rule.name}: no {rule.item_kind} {rule.item!r} among the videos to be listed"
            )
        elif rule.segment is not None and users is None:
            remarks.append(f"rule {rule.name}: the users' table has no column {rule.segment[0]!r}")
        elif users is not None and not len(users):
            column, value = rule.segment or ("", "")
            remarks.append(f"rule {rule.name}: no user has {column} = {value!r}")
        else:
            if rule.kind != AT_MOST and (rule.number or 0) > top_k:
                remarks.append(
                    f"rule {rule.name}: asks for {rule.number}, and a list has {top_k} rows ([lists] top_k)"
                )
            found.append(
                NightRule(rule.name, rule.kind, videos, rule.number or 0, rule.strength or 1.0, users)
            )
    return NightRules(tuple(found), tuple(remarks))
