"""What the command line prints of `next_day`: a verdict, the main table, and what each day was judged by."""

from collections.abc import Sequence
from typing import Any

from nightreel.core.settings import DataSettings
from pipelines.backtest_files import HYBRID, YESTERDAY
from pipelines.evaluate.facts import NextDayFacts
from pipelines.evaluate.figures import ALL, VERSUS_HYBRID, Figure
from pipelines.evaluate.next_day import ANY_PLAY, NextDay, day_facts
from pipelines.evaluate.next_day_figures import MICRO_RECALL
from pipelines.labels import labels_of

_VERDICT_AT = 20
# Columns of the main table: metric and k; a k beyond the largest is cut to it.
_PRINTED = (
    (MICRO_RECALL, 20),
    (MICRO_RECALL, 100),
    ("recall", 20),
    ("ndcg", 10),
    ("precision", 10),
    ("map", 10),
    ("recall_ips", 20),
    (f"ndcg{VERSUS_HYBRID}", 10),
)


def facts(found: NextDay, own: Sequence[Figure], settings: DataSettings) -> NextDayFacts:
    """The facts, the verdict first: whether the published lists beat yesterday's popularity."""
    labels = [
        settings.targets.label,
        *(label for label in labels_of(settings) if label != settings.targets.label),
        ANY_PLAY,
    ]
    backtest = found.backtest
    remarks = [*backtest.remarks, *_days_without_likes(found, settings.targets.label)]
    return NextDayFacts(
        verdict=verdict(own, settings.targets.label, found.cutoffs),
        by_label={label: _table(own, label, found) for label in labels},
        days=day_facts(found, settings),
        rankers_trained_before=backtest.trained_before.isoformat(),
        remarks=tuple(remarks) or None,
    )


def _days_without_likes(found: NextDay, label: str) -> list[str]:
    return [
        f"{judged.day.day}: nobody liked a video new to them; the day counts in no mean over liked plays."
        for judged in found.days
        if judged.of_label(label).is_empty()
    ]


def verdict(own: Sequence[Figure], label: str, cutoffs: Sequence[int]) -> str:
    """One sentence: do the published lists find more of the next day's liked plays than yesterday's list?"""
    k = _at(_VERDICT_AT, cutoffs)
    rows = {(figure.system, figure.metric): figure for figure in own if _is(figure, label, k)}
    hybrid = rows.get((HYBRID, MICRO_RECALL))
    other = rows.get((YESTERDAY, MICRO_RECALL))
    difference = rows.get((YESTERDAY, MICRO_RECALL + VERSUS_HYBRID))
    if hybrid is None or other is None or difference is None:
        return "nobody liked a video new to them on these days, so there is nothing to compare"
    low, high = difference.low, difference.high
    assert low is not None and high is not None
    word = (
        "the published lists beat yesterday's popularity"
        if high < 0
        else "the published lists are worse than yesterday's popularity"
        if low > 0
        else "the published lists and yesterday's popularity differ by no more than chance"
    )
    return (
        f"{word}: the published first {k} contain {hybrid.value:.4f} of the liked plays, popularity's "
        f"{other.value:.4f} (difference {_opposite(difference.value)}, "
        f"95 % {_opposite(high)} to {_opposite(low)})"
    )


def _opposite(value: float) -> str:
    """The opposite with four digits and its sign; what rounds to 0 has no minus."""
    return f"{0.0 - round(value, 4):+.4f}"


def _table(own: Sequence[Figure], label: str, found: NextDay) -> list[dict[str, Any]]:
    values = {
        (figure.system, figure.metric, figure.k): figure.value
        for figure in own
        if figure.label == label and figure.slice == ALL
    }
    columns = {f"{metric}@{k}": (metric, k) for metric, most in _PRINTED for k in [_at(most, found.cutoffs)]}
    return [
        {"system": system} | {name: values.get((system, *column)) for name, column in columns.items()}
        for system in found.backtest.systems
    ]


def _at(most: int, cutoffs: Sequence[int]) -> int:
    """The largest k up to `most`, or the only one that there is."""
    return max((k for k in cutoffs if k <= most), default=cutoffs[0])


def _is(figure: Figure, label: str, k: int) -> bool:
    return (figure.label, figure.k, figure.slice) == (label, k, ALL)
