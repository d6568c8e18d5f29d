"""Checks lists that were read back against the owner's rules, and counts those that could not keep to one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nightreel.core.errors import AuditError
from pipelines.pair_bits import bits_at
from scoring.database.audit_part import REMEDY, Part, fail, fitting, named
from scoring.lists.rows import distinct
from scoring.lists.rules.compose import DIVERSITY, EXPLORE, REPEAT
from scoring.lists.rules.owner import AT_LEAST, AT_MOST, PIN, NightRule


@dataclass
class Shortfalls:
    """Requirements that some lists could not meet.

    Attributes:
        rules: name of a rule -> number of lists that could not keep to it.
        of_few: number of lists that are short because fewer videos may be listed for their users.
        by_caps: number of lists that are short because caps leave no room for another video.
    """

    rules: Counter[str] = field(default_factory=Counter)
    of_few: int = 0
    by_caps: int = 0

    def remarks(self, users: int, k: int) -> Iterator[str]:
        """A line for each, out of this many users' lists."""
        for name, lists in sorted(self.rules.items()):
            yield f"rule {name}: could not be kept in {lists} of {users} lists"
        short = f"of {users} lists are shorter than {k} rows ([lists] top_k):"
        if self.of_few:
            yield f"{self.of_few} {short} their users have fewer videos left to be listed"
        if self.by_caps:
            yield f"{self.by_caps} {short} [lists.max_per] leaves no room for more"


def rules_kept(part: Part, k: int) -> Counter[str]:
    """How many of these lists break each rule, by its name.

    Raises:
        AuditError: a list breaks a rule that it could keep, a row names an unknown rule, or a propensity is
            not a probability.
    """
    _names(part)
    lists = part.lists
    wrong = ~(np.isnan(lists.propensity) | ((lists.propensity > 0) & (lists.propensity <= 1)))
    fail("propensities", wrong, lists, part.ids, "rows have a propensity that is not a probability")
    broken: Counter[str] = Counter()
    for rule in part.candidates.rules.rules:
        users = np.flatnonzero(rule.is_for(part.expected))
        if rule.kind == PIN:
            broken[rule.name] += _pins_elsewhere(part, rule, users, k)
        elif rule.kind == AT_LEAST:
            broken[rule.name] += int((_counts(part, rule.videos)[users] < rule.number).sum())
        elif rule.kind == AT_MOST:
            broken[rule.name] += _too_many(part, rule, users)
    return +broken


def _names(part: Part) -> None:
    known = {rule.name for rule in part.candidates.rules.rules} | {REPEAT, DIVERSITY, EXPLORE}
    names, name = distinct(part.lists.rule)
    unknown = np.array([not known.issuperset(filter(None, one.split(","))) for one in names], dtype=bool)
    if len(part.lists):
        fail("rules", unknown[name], part.lists, part.ids, "rows name a rule that is not in force")


def _counts(part: Part, videos: np.ndarray) -> np.ndarray:
    """Rows of these videos in each list: int64 [users]."""
    rows = videos[part.video]
    return np.bincount(part.user[rows], minlength=len(part.expected))


def _pins_elsewhere(part: Part, rule: NightRule, users: np.ndarray, k: int) -> int:
    """Lists without the pinned video at its rank; AuditError where it is in none of them without a reason."""
    video = int(np.flatnonzero(rule.videos)[0])
    rank = np.zeros(len(part.expected), dtype=np.int64)
    of_video = part.video == video
    rank[part.user[of_video]] = part.lists.rank[of_video]
    pins = sum(other.kind == PIN for other in part.candidates.rules.rules)
    for user in users[rank[users] == 0].tolist():
        is_open = not bits_at(part.closed[user], np.array([video]))[0]
        # Caps and more pins than rows leave one out.
        if is_open and fitting(part, user)[video] and pins <= k:
            raise AuditError(
                f"audit `pins`: {rule.name} is missing in the list of user "
                f"{named(part.ids.user, part.expected[user])}.",
                REMEDY,
            )
    return int((rank[users] != rule.number).sum())


def _too_many(part: Part, rule: NightRule, users: np.ndarray) -> int:
    """Lists with more rows than the quota; AuditError where another video would have kept it."""
    counts = _counts(part, rule.videos)
    over = users[counts[users] > rule.number]
    pinned = np.char.startswith(part.lists.rule.astype(np.str_), f"{PIN}:")
    pins = np.bincount(part.user[pinned & rule.videos[part.video]], minlength=len(part.expected))
    for user in over.tolist():
        if counts[user] <= max(rule.number, pins[user]):
            continue
        fits = fitting(part, user)
        for other in part.candidates.rules.of_kind(AT_MOST):
            is_full = _counts(part, other.videos)[user] >= other.number
            if is_full and other.is_for(part.expected[user : user + 1])[0]:
                fits &= ~other.videos
        if fits.any():
            raise AuditError(
                f"audit `quotas`: the list of user {named(part.ids.user, part.expected[user])} has "
                f"{counts[user]} rows of {rule.name}, at most {rule.number} are allowed.",
                REMEDY,
            )
    return len(over)
