"""One user's list by the rules: pins at their ranks, then the next best that caps and quotas allow.

The model's order is passed through once. A row that is not the next of that order names the rule that put it
there; the rows without a rule stay in the model's order.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from scoring.lists.candidates import Cap

DIVERSITY, EXPLORE, REPEAT = "diversity", "explore", "repeat"


@dataclass(frozen=True)
class Quota:
    """From `least` to `most` (None: any number) rows with one of these videos: bool [videos]."""

    name: str
    videos: np.ndarray
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Pin:
    """A video, by its index in the candidates, to be put at a rank (from 1)."""

    name: str
    rank: int
    video: int


class Likeness(Protocol):
    """Protocol: how similar videos are, 0 to 1, and how much that weighs against the order."""

    @property
    def weight(self) -> float:
        """The weight, from 0, at which only the order counts."""

    def between(self, video: int, others: np.ndarray) -> np.ndarray:
        """Similarity of a video to others: float64 [others]."""


class Draw(Protocol):
    """Protocol: fills some ranks of a list at random."""

    def is_drawn(self, rank: int) -> bool:
        """Whether the row at a rank is drawn."""

    def one_of(self, rank: int, rows: np.ndarray) -> tuple[int, float]:
        """One of these next rows of the order, and its probability."""


@dataclass
class Chosen:
    """A list: each row's video, the rule that put it there ('' if none), and its probability."""

    video: list[int] = field(default_factory=list)
    rule: list[str] = field(default_factory=list)
    propensity: list[float] = field(default_factory=list)

    def add(self, video: int, rule: str, propensity: float = 1.0) -> None:
        """Append a row."""
        self.video.append(video)
        self.rule.append(rule)
        self.propensity.append(propensity)


def compose(
    order: np.ndarray,
    k: int,
    *,
    pins: Sequence[Pin] = (),
    quotas: Sequence[Quota] = (),
    caps: Sequence[Cap] = (),
    likeness: Likeness | None = None,
    draw: Draw | None = None,
    others: Callable[[], np.ndarray] | None = None,
) -> Chosen:
    """The list of at most `k` rows.

    Caps always hold; a quota that can no longer be met is given up, so that the list is full.

    Args:
        order: int64, distinct video indices, best first; `draw` takes rows of it.
        others: indices of the other eligible videos, best first; called only if the order is too short.
    """
    room = _Room(caps, quotas)
    pinned = _slots(pins, k, room)
    taken = np.array(sorted(pin.video for pin in pinned.values()), dtype=np.int64)
    rows = _Rows(order, taken, quotas, likeness, others)
    room.bound(rows.video[rows.left])
    chosen = Chosen()
    free = k - len(pinned)
    for rank in range(1, k + 1):
        if rank in pinned:
            pin = pinned[rank]
            chosen.add(pin.video, pin.name)
            rows.note(pin.video)
            continue
        found = _next(rows, room, free, rank, draw)
        if found is None:
            break
        row, rule, propensity = found
        video = int(rows.video[row])
        rows.take(row)
        room.take(video)
        chosen.add(video, rule, propensity)
        free -= 1
    for rank in sorted(pinned):
        if rank > len(chosen.video) and pinned[rank].video not in chosen.video:
            chosen.add(pinned[rank].video, pinned[rank].name)
    return chosen


def _slots(pins: Sequence[Pin], k: int, room: "_Room") -> dict[int, Pin]:
    """The rank of each pin: its own, or where that is taken the next that is free, or the last before it."""
    slots: dict[int, Pin] = {}
    for pin in sorted(pins, key=lambda one: one.rank):
        if any(pin.video == other.video for other in slots.values()) or not room.has(pin.video):
            continue
        first = min(pin.rank, k)
        free = next((r for r in (*range(first, k + 1), *range(first, 0, -1)) if r not in slots), None)
        if free is not None:
            slots[free] = pin
            room.take(pin.video)
    return slots


def _next(
    rows: "_Rows", room: "_Room", free: int, rank: int, draw: Draw | None
) -> tuple[int, str, float] | None:
    """The row of the order that comes next, the rule that chose it, and how probable it was."""
    allowed = rows.left & room.allowed(rows.video)
    if not allowed.any() and rows.extend():
        allowed = rows.left & room.allowed(rows.video)
    if not allowed.any():
        # Quotas leave nothing, so they give way: the list stays whole.
        allowed = rows.left & room.within_caps(rows.video)
        if not allowed.any():
            return None
        row = int(np.argmax(allowed))
        return row, room.broken_by(int(rows.video[row])), 1.0
    first, needed = int(np.argmax(allowed)), ""
    among = allowed
    while (needs := room.needs()) and sum(needs.values()) >= free:
        of_needs = np.any([room.quotas[at].videos[rows.video] for at in needs], axis=0) & allowed
        if of_needs.any():
            among = of_needs
            break
        room.give_up(needs)
    if draw is not None and draw.is_drawn(rank):
        row, propensity = draw.one_of(rank, np.flatnonzero(among))
        return row, EXPLORE, propensity
    row = rows.best(among)
    if among is not allowed and row != rows.best(allowed):
        needed = room.needing(int(rows.video[row]))
    if row == first:
        return row, "", 1.0
    return row, needed or DIVERSITY, 1.0


class _Rows:
    """The order, the rows that are left, and how similar each row is to those in the list."""

    def __init__(
        self,
        order: np.ndarray,
        taken: np.ndarray,
        quotas: Sequence[Quota],
        likeness: Likeness | None,
        others: Callable[[], np.ndarray] | None,
    ) -> None:
        self.video = order
        self.left = ~np.isin(order, taken)
        self._taken = taken
        self._others = others
        self._likeness = likeness if likeness is not None and likeness.weight > 0 else None
        self._nearest = np.zeros(len(order))
        for quota in quotas:
            missing = quota.least - int(quota.videos[self.video[self.left]].sum())
            if missing > 0 and others is not None:
                more = others()
                self._append(more[quota.videos[more]], missing)

    def _append(self, videos: np.ndarray, most: int) -> bool:
        new = videos[~np.isin(videos, self.video) & ~np.isin(videos, self._taken)][:most]
        self.video = np.concatenate([self.video, new])
        self.left = np.concatenate([self.left, np.ones(len(new), dtype=bool)])
        self._nearest = np.concatenate([self._nearest, np.zeros(len(new))])
        return len(new) > 0

    def extend(self) -> bool:
        """Continue with the other videos that may be listed; returns whether there were any."""
        if self._others is None:
            return False
        others, self._others = self._others(), None
        return self._append(others, len(others))

    def note(self, video: int) -> None:
        """Note that a video is in the list now."""
        if self._likeness is not None:
            self._nearest = np.maximum(self._nearest, self._likeness.between(video, self.video))

    def take(self, row: int) -> None:
        """Note that a row is in the list now."""
        self.left[row] = False
        self.note(int(self.video[row]))

    def best(self, among: np.ndarray) -> int:
        """The next of these rows: by maximal marginal relevance, or the first."""
        if self._likeness is None:
            return int(np.argmax(among))
        weight = self._likeness.weight
        relevance = 1 / np.log2(2 + np.arange(len(among)))
        # Rounded, so that processors whose last bits differ choose the same.
        value = np.round((1 - weight) * relevance - weight * self._nearest, 9)
        return int(np.argmax(np.where(among, value, -np.inf)))


class _Room:
    """The rows that caps and quotas still allow after those taken."""

    def __init__(self, caps: Sequence[Cap], quotas: Sequence[Quota]) -> None:
        self.quotas = quotas
        self._caps = caps
        self._by_group = [Counter[int]() for _ in caps]
        self._counts = [0] * len(quotas)
        self._given_up: set[int] = set()
        self._least = [quota.least for quota in quotas]

    def bound(self, left: np.ndarray) -> None:
        """Ask for no more rows of a quota than these videos and those taken have."""
        for at, quota in enumerate(self.quotas):
            there = self._counts[at] + int(quota.videos[left].sum())
            self._least[at] = min(self._least[at], there)

    def take(self, video: int) -> None:
        for cap, counts in zip(self._caps, self._by_group, strict=True):
            counts[int(cap.group[video])] += 1
        for at, quota in enumerate(self.quotas):
            self._counts[at] += bool(quota.videos[video])

    def has(self, video: int) -> bool:
        """Whether the caps have room for a video."""
        return bool(self.within_caps(np.array([video]))[0])

    def within_caps(self, videos: np.ndarray) -> np.ndarray:
        within = np.ones(len(videos), dtype=bool)
        for cap, counts in zip(self._caps, self._by_group, strict=True):
            full = [group for group, count in counts.items() if group >= 0 and count >= cap.most]
            if full:
                within &= ~np.isin(cap.group[videos], full)
        return within

    def allowed(self, videos: np.ndarray) -> np.ndarray:
        """Whether caps and quotas have room for each of these videos."""
        allowed = self.within_caps(videos)
        for quota, count in zip(self.quotas, self._counts, strict=True):
            if quota.most is not None and count >= quota.most:
                allowed &= ~quota.videos[videos]
        return allowed

    def broken_by(self, video: int) -> str:
        """The quotas that one more of this video breaks, or ''."""
        broken = (
            quota.name
            for quota, count in zip(self.quotas, self._counts, strict=True)
            if quota.most is not None and count >= quota.most and quota.videos[video]
        )
        return ",".join(broken)

    def needs(self) -> dict[int, int]:
        """Rows that are missing of each quota that is not given up, by its position."""
        return {
            at: least - count
            for at, (least, count) in enumerate(zip(self._least, self._counts, strict=True))
            if count < least and at not in self._given_up
        }

    def give_up(self, needs: dict[int, int]) -> None:
        """Give up quotas that no video can meet any more."""
        self._given_up |= set(needs)

    def needing(self, video: int) -> str:
        """The quotas for which this video is needed."""
        return ",".join(self.quotas[at].name for at in self.needs() if self.quotas[at].videos[video])
