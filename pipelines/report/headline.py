"""The comparison that matters most: published lists beside popularity and beside the best single source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from pipelines.backtest_files import HYBRID, HYBRID_OF, SOURCE_ALONE, YESTERDAY
from pipelines.evaluate.facts import EvaluateFacts
from pipelines.evaluate.figures import ALL, VERSUS_HYBRID
from pipelines.evaluate.next_day import NEXT_DAY
from pipelines.evaluate.next_day_figures import MICRO_RECALL
from pipelines.evaluate.protocols import KUAIREC, RANKED


@dataclass(frozen=True)
class Measured:
    """A value and its interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Rival:
    """Another system: its value, and how far the published lists are above it (paired, with an interval)."""

    system: str
    value: float
    lead: Measured

    @property
    def outcome(self) -> int:
        """1 where the published lists are better by more than chance, -1 where they are worse, else 0."""
        low, high = self.lead.low, self.lead.high
        if low is None or high is None:
            return 0
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True)
class Headline:
    """The published lists and their rivals by one metric at one k.

    Attributes:
        protocol: NEXT_DAY, or another one if no lists of past days were judged.
        popularity: yesterday's popularity.
        source: the best single candidate source.
        objective: the rankers of the other objective, if there are any.
        observed: beside the lists of past days, the order of fully observed pairs, if there are any.
    """

    protocol: str
    label: str
    metric: str
    k: int
    published: Measured
    popularity: Rival | None
    source: Rival | None
    objective: Rival | None
    users: int
    days: Sequence[str] = ()
    observed: "Headline | None" = None


@dataclass(frozen=True)
class _Asked:
    """A protocol's own question.

    Attributes:
        most: k is the largest up to it.
    """

    protocol: str
    metric: str
    most: int
    popularity: str
    sources: str


_OF_LISTS = _Asked(NEXT_DAY, MICRO_RECALL, 20, YESTERDAY, SOURCE_ALONE.format(""))
_INSTEAD = [_Asked(protocol, "ndcg", 10, "popularity_by_engagement", "als") for protocol in RANKED]


def headline(figures: pl.DataFrame, facts: EvaluateFacts | None, label: str) -> Headline | None:
    """The headline of `next_day` if lists of past days were judged, else of another protocol, if any."""
    judged = None if facts is None else facts.next_day
    days = [] if judged is None else [str(row["day"]) for row in judged.days]
    found = _of_protocol(figures, _OF_LISTS, label)
    others = {asked.protocol: _of_protocol(figures, asked, label) for asked in _INSTEAD}
    if found is not None:
        return replace(found, days=days, observed=others[KUAIREC])
    return next((one for one in others.values() if one is not None), None)


def _of_protocol(figures: pl.DataFrame, asked: _Asked, label: str) -> Headline | None:
    metric, versus = asked.metric, asked.metric + VERSUS_HYBRID
    own = figures.filter(
        pl.col("protocol") == asked.protocol, pl.col("label") == label, pl.col("slice") == ALL,
        pl.col("metric").is_in([metric, versus]), pl.col("k").is_not_null(),
    )  # fmt: skip
    ks: list[int] = own["k"].unique().sort().to_list()
    if not ks:
        return None
    k = max((one for one in ks if one <= asked.most), default=ks[0])
    rows = {
        (system, name): (Measured(value, low, high), users)
        for system, name, value, low, high, users in own.filter(pl.col("k") == k)
        .select("system", "metric", "value", "low", "high", "users")
        .iter_rows()
    }
    if (HYBRID, metric) not in rows:
        return None
    published, users = rows[HYBRID, metric]
    rivals = {
        system: Rival(system, measured.value, _turned(rows[system, versus][0]))
        for (system, name), (measured, _) in rows.items()
        if name == metric and (system, versus) in rows
    }
    sources = [rival for system, rival in rivals.items() if system.startswith(asked.sources)]
    better = [
        rival
        for system, rival in rivals.items()
        if system.startswith(HYBRID_OF.format("")) and rival.outcome < 0
    ]
    return Headline(
        protocol=asked.protocol,
        label=label,
        metric=metric,
        k=k,
        published=published,
        popularity=rivals.get(asked.popularity),
        source=max(sources, key=lambda rival: rival.value, default=None),
        objective=max(better, key=lambda rival: rival.value, default=None),
        users=users,
    )


def _turned(difference: Measured) -> Measured:
    """The difference with its sign changed: figures hold the others minus the hybrid."""
    low, high = difference.low, difference.high
    return Measured(-difference.value, None if high is None else -high, None if low is None else -low)
