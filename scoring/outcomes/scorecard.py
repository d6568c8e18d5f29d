"""The figures that are kept, as people and monitors read them: shares, paired intervals, the usual band."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, Table, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.tables import list_arm, list_exposure, list_night, list_outcome, list_reach
from scoring.database.url import database_exists
from scoring.outcomes.arms import arms_over_nights
from scoring.outcomes.card import ArmFacts, NightFacts, NightRow, Scorecard
from scoring.outcomes.card_rows import percent
from scoring.outcomes.log import LIKED, PLAYED, SHOWN

_Z = 1.959963984540054  # of 95 % in the middle of a normal distribution
# The band: the least and the most nights before, and the number of standard deviations to each side.
_BAND_NIGHTS_MIN, _BAND_NIGHTS_MAX, _BAND_WIDTH = 5, 14, 3.0
_MAD_TO_SD = 1.4826
_LEAST_WIDTH = 0.005
# Nights that are read to find the newest judged one and those before it; replays may be among them.
_ALARM_NIGHTS = 60
# A night is judged when its lists were shown for most of a day and the log covers most of that time.
_JUDGED_SPAN = timedelta(hours=12)
_JUDGED_SHARE = 0.8


@dataclass
class Night:
    """One run's figures.

    Attributes:
        facts: its row of list_night.
        reach, cells, positions: its rows of list_reach, list_outcome and list_exposure.
        band: a line for each figure outside the range of earlier nights.
    """

    facts: NightRow
    reach: list[dict[str, Any]]
    cells: list[dict[str, Any]] = field(default_factory=list)
    positions: list[dict[str, Any]] = field(default_factory=list)
    band: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> int:
        """The run that was shown, or a stored replay."""
        return self.facts["run_id"]

    @property
    def is_judged(self) -> bool:
        """Whether enough of the time in which the run was shown is over, and in the log."""
        span = self.facts["shown_until"] - self.facts["shown_from"]
        if span < _JUDGED_SPAN or self.facts["log_until"] is None:
            return False
        covered = min(self.facts["log_until"], self.facts["shown_until"]) - self.facts["shown_from"]
        return bool(covered >= _JUDGED_SHARE * span)

    def figures(self) -> dict[str, tuple[float, int]]:
        """The figures compared with other nights, by name: a share, and its denominator."""
        facts = self.facts
        active = facts["active_users"]
        found = {
            f"reach at {row['depth']} ({row['hit']})": (_share(row["users_list"], active), active)
            for row in self.reach
        }
        found["coverage"] = (_share(facts["videos_listed"], facts["videos_known"]), facts["videos_known"])
        found["fresh"] = (_share(facts["fresh_rows"], facts["dated_rows"]), facts["dated_rows"])
        found["active users"] = (_share(active, facts["users"]), facts["users"])
        return found


def paired_difference(only_one: int, only_other: int, pairs: int) -> tuple[float, float, float]:
    """Difference of two shares of the same users, with its 95 % interval: estimate, low, high.

    Args:
        only_one, only_other: numbers of users reached by one and not by the other.
        pairs: number of all users.

    Source: Bonett and Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based
    on Paired Data (J. Educational and Behavioral Statistics 37, 2012).
    """
    estimate = _share(only_one - only_other, pairs)
    one, other = (only_one + 1) / (pairs + 2), (only_other + 1) / (pairs + 2)
    half = _Z * math.sqrt((one + other - (one - other) ** 2) / (pairs + 2))
    return estimate, max(-1.0, one - other - half), min(1.0, one - other + half)


def nights(connection: Connection, *, most: int = 1_000, cells: bool = False) -> list[Night]:
    """The newest kept nights, oldest first, each compared with the judged ones before it."""
    newest = (list_night.c.shown_from.desc(), list_night.c[columns.RUN_ID].desc())
    chosen = connection.execute(select(list_night).order_by(*newest).limit(most)).mappings().all()[::-1]
    runs = [facts[columns.RUN_ID] for facts in chosen]
    rows = _by_run(connection, list_reach, runs)
    of_cells = _by_run(connection, list_outcome, runs) if cells else {}
    of_positions = _by_run(connection, list_exposure, runs) if cells else {}
    found = []
    for facts in chosen:
        reach, of_lists, at = (one.get(facts[columns.RUN_ID], []) for one in (rows, of_cells, of_positions))
        found.append(Night(cast(NightRow, dict(facts)), reach, of_lists, at))
    for shown in (True, False):
        same = [night for night in found if night.is_judged and night.facts["shown"] == shown]
        for n, night in enumerate(same):
            night.band = _out_of_band(night, same[max(0, n - _BAND_NIGHTS_MAX) : n])
    return found


def alarms(connection: Connection) -> list[str]:
    """A line for each figure of the newest judged night that is outside the band."""
    judged = newest_judged(connection)
    return [] if judged is None else [f"run {judged.run_id}: {line}" for line in judged.band]


def newest_judged(connection: Connection, *, cells: bool = False) -> Night | None:
    """The newest judged night that apps read, compared with those before it."""
    found = nights(connection, most=_ALARM_NIGHTS, cells=cells)
    return next((night for night in reversed(found) if night.is_judged and night.facts["shown"]), None)


def scorecard(settings: DatabaseNeeds, *, days: int = 30, replays: bool = False) -> Scorecard:
    """The nights of the last `days` days that have figures, newest first; JSON-able except for instants.

    Args:
        replays: show stored replays, which no app read, instead of the shown runs.

    Raises:
        InputError: there is no database yet.
    """
    if not database_exists(settings):
        raise InputError("Nothing is published yet.", "Run `nightreel run` first.")
    with reading(settings) as connection:
        require_current(connection)
        every = nights(connection, cells=True)
        said = [] if replays else alarms(connection)
        chosen = [night for night in every if night.facts["shown"] != replays]
        if chosen:
            first = chosen[-1].facts["shown_from"] - timedelta(days=days)
            chosen = [night for night in chosen if night.facts["shown_from"] > first]
        # Of all nights: the intervals hold at every look only if each look knows how many came before it.
        arms = arms_of_nights(connection, every, shown=not replays)
    facts = [as_facts(night) for night in reversed(chosen)]
    return Scorecard(days=days, alarms=said, arms=arms, nights=facts)


def arms_of_nights(connection: Connection, nights: Sequence[Night], *, shown: bool = True) -> list[ArmFacts]:
    """The results of these nights, if judged, for each arm of the newest experiment.

    Args:
        nights: oldest first.
        shown: whether of the runs that apps read, or of replays.
    """
    judged = [night for night in nights if night.is_judged and night.facts["shown"] == shown]
    of_arms = _by_run(connection, list_arm, [night.run_id for night in judged])
    with_arms = [of_arms[run] for night in judged if (run := night.run_id) in of_arms]
    return arms_over_nights([sorted(rows, key=lambda row: row["position"]) for rows in with_arms])


def as_facts(night: Night) -> NightFacts:
    """A night with the figures derived from its counts."""
    facts = night.facts
    users, active = facts["users"], facts["active_users"]
    reach = []
    for row in night.reach:
        estimate, low, high = paired_difference(row["list_only"], row["popularity_only"], active)
        reach.append(
            {name: value for name, value in row.items() if name != columns.RUN_ID}
            | {
                "share_list": _share(row["users_list"], active),
                "share_popularity": _share(row["users_popularity"], active),
                "difference": estimate,
                "low": low,
                "high": high,
            }
        )
    totals = {name: sum(cell[name] for cell in night.cells) for name in ("listed", PLAYED, LIKED, "watch_ms")}
    totals[SHOWN] = sum(cell[SHOWN] for cell in night.cells) if facts["exposures"] is not None else None
    cells, positions = (
        [{name: row[name] for name in row if name != columns.RUN_ID} for row in rows]
        for rows in (night.cells, night.positions)
    )
    counts = {name: value for name, value in facts.items() if name not in ("inputs", "recorded_at")}
    of_night = (
        counts
        | totals
        | {
            "active_share": _share(active, users),
            "coverage": _share(facts["videos_listed"], facts["videos_known"]),
            "fresh": _share(facts["fresh_rows"], facts["dated_rows"]),
            "judged": night.is_judged,
            "out_of_band": night.band,
            "reach": reach,
            "cells": cells,
            "positions": positions,
        }
    )
    # Rows of tables have no types of their own; a test holds that these are the keys.
    return cast(NightFacts, of_night)


def _by_run(connection: Connection, table: Table, runs: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    query = select(table).where(table.c[columns.RUN_ID].in_(runs)).order_by(*table.primary_key.columns)
    for row in connection.execute(query).mappings():
        found.setdefault(row[columns.RUN_ID], []).append(dict(row))
    return found


def _out_of_band(night: Night, before: Sequence[Night]) -> list[str]:
    """Figures of a night that differ from the median of earlier nights by three standard deviations.

    The deviation combines that of the nights (by their median absolute deviation) and a share's own sampling
    error.
    """
    lines = []
    for name, (value, of) in night.figures().items():
        values = np.array([one.figures()[name][0] for one in before if name in one.figures()])
        if len(values) < _BAND_NIGHTS_MIN:
            continue
        middle = float(np.median(values))
        of_nights = _MAD_TO_SD * float(np.median(np.abs(values - middle)))
        of_share = math.sqrt(middle * (1 - middle) / of) if of else 0.0
        width = max(_BAND_WIDTH * math.hypot(of_nights, of_share), _LEAST_WIDTH)
        if abs(value - middle) > width:
            low, high = max(0.0, middle - width), min(1.0, middle + width)
            side = "above" if value > middle else "below"
            lines.append(
                f"{name} is {percent(value)}, {side} the {percent(low)} to {percent(high)} that the "
                f"{len(values)} nights before it suggest"
            )
    return lines


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
