"""Sections on the lists of the last days, judged by what was then played: the main table, then its parts."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.backtest_files import HYBRID
from pipelines.evaluate.facts import NextDayFacts
from pipelines.evaluate.figures import ALL, VERSUS_HYBRID
from pipelines.evaluate.next_day import ANY_PLAY, NEXT_DAY
from pipelines.evaluate.next_day_figures import METRICS, MICRO_RECALL, MICRO_RECALL_IPS
from pipelines.labels import LABELS
from pipelines.report.blocks import Beside, Block, Fold, Heading, Paragraph, Table
from pipelines.report.charts import spans
from pipelines.report.headline import Headline
from pipelines.report.names import system_title
from pipelines.report.numerals import with_interval
from pipelines.report.tables import distinct

_PLAIN = (*(metric for metric in METRICS if not metric.endswith("_ips")), MICRO_RECALL)
_WEIGHTED = (*(metric for metric in METRICS if metric.endswith("_ips")), MICRO_RECALL_IPS)
_OF_LISTS = ("coverage", "gini")
_DEEP = 100


def main_table(figures: pl.DataFrame, facts: NextDayFacts | None, found: Headline) -> list[Block]:
    """Every system by the headline's metric, best first, as a chart and a table."""
    whole = figures.filter(pl.col("protocol") == NEXT_DAY, pl.col("slice") == ALL)
    ks = sorted(whole["k"].unique().to_list())
    deep = max(k for k in ks if k <= max(_DEEP, ks[0]))
    own = whole.filter(pl.col("label") == found.label)
    values = _values(own, {(MICRO_RECALL, found.k), (MICRO_RECALL, deep), ("ndcg", ks[0])})
    values |= _values(own, {(MICRO_RECALL + VERSUS_HYBRID, found.k)})
    values |= _values(whole.filter(pl.col("label") == ANY_PLAY), {("coverage", found.k)})
    at = (MICRO_RECALL, found.k)
    systems = [name for name in distinct(own, "system") if (name, *at) in values]
    # The published objective's own rankers make the published lists once more.
    systems = [name for name in systems if not _is_copy(values, name, found.k)]
    systems.sort(key=lambda name: -values[name, *at][0])
    rows = []
    for name in systems:
        difference = values.get((name, MICRO_RECALL + VERSUS_HYBRID, found.k))
        row = {
            "system": system_title(name),
            f"share found @{found.k}": _text(values[name, *at]),
            "minus published": _text(difference, sign=True) if difference else None,
        }
        further = () if deep == found.k else ((f"share found @{deep}", (MICRO_RECALL, deep)),)
        for title, key in (
            *further,
            (f"NDCG @{ks[0]}", ("ndcg", ks[0])),
            (f"coverage @{found.k}", ("coverage", found.k)),
        ):
            row[title] = _text(values.get((name, *key)), interval=False)
        rows.append(row)
    chart = spans(
        [(name, system_title(name), *values[name, *at]) for name in systems],
        title=f"Share of liked plays found in the first {found.k}",
        sentence=_sentence(systems),
        end="more found",
    )
    table = Table(
        f"Systems on {_days(found)}, best first",
        rows,
        main=system_title(HYBRID),
        note="The best of several single sources is chosen after the fact, which favours it.",
    )
    remarks = [Paragraph(remark) for remark in (facts.remarks if facts is not None else None) or ()]
    return [
        Paragraph(
            "Every system lists videos of the whole catalogue that the user had not played at the start of "
            "each day; relevant is what was then played for the first time and liked. No ranker here was "
            "trained on these days."
        ),
        *remarks,
        Beside(table, chart),
    ]


def details(figures: pl.DataFrame, facts: NextDayFacts | None) -> list[Block]:
    """Every label, k, metric and day; empty where no lists of past days were judged."""
    own = figures.filter(pl.col("protocol") == NEXT_DAY)
    if own.is_empty():
        return []
    said = [*LABELS, ANY_PLAY] if facts is None else facts.by_label
    labels = [label for label in said if label in distinct(own, "label")]
    ks = sorted(own["k"].unique().to_list())
    whole = own.filter(pl.col("slice") == ALL)
    blocks: list[Block] = []
    for number, label in enumerate(labels):
        part: list[Block] = [block for k in ks for block in _at(whole, label, k, is_open=k == ks[0])]
        part.append(
            Fold(f"Differences from the published lists ({label})", [_differences(whole, label, ks[0])])
        )
        for day in [one for one in distinct(own, "slice") if one != ALL]:
            of_day = _systems(own.filter(pl.col("slice") == day), label, ks[0], _PLAIN)
            title = f"{day[0].upper()}{day[1:]}, at {ks[0]} ({label})"
            part.append(Fold(title, [Table(title, of_day, system_title(HYBRID))]))
        title = "All plays" if label == ANY_PLAY else f"Liked plays, label {label}"
        blocks += [Heading(title), *part] if number == 0 else [Fold(title, part)]
    return [
        Paragraph(
            "report.csv, beside this page, has every figure; here each day is at the first depth only."
        ),
        *blocks,
        Table("What each day is judged by", [] if facts is None else facts.days),
    ]


def _days(found: Headline) -> str:
    if len(found.days) == 1:
        return str(found.days[0])
    return f"{len(found.days)} days, {found.days[0]} to {found.days[-1]}" if found.days else "the last days"


def _sentence(systems: list[str]) -> str:
    position = systems.index(HYBRID) + 1
    others = "" if position == 1 else f"{system_title(systems[0])} is first and "
    return (
        f"Of {len(systems)} systems, {others}the published lists are number {position}; the bar around each "
        "mark is its 95 % interval."
    )


def _values(
    own: pl.DataFrame, keys: set[tuple[str, int]]
) -> dict[tuple[str, str, int], tuple[float, float | None, float | None]]:
    return {
        (system, metric, k): (value, low, high)
        for system, metric, k, value, low, high in own.select(
            "system", "metric", "k", "value", "low", "high"
        ).iter_rows()
        if (metric, k) in keys
    }


def _is_copy(
    values: Mapping[tuple[str, str, int], tuple[float, float | None, float | None]], name: str, k: int
) -> bool:
    return name.startswith(f"{HYBRID}_") and values.get((name, MICRO_RECALL + VERSUS_HYBRID, k)) == (0, 0, 0)


def _text(
    measured: tuple[float, float | None, float | None] | None, *, sign: bool = False, interval: bool = True
) -> str | None:
    if measured is None:
        return None
    value, low, high = measured
    return with_interval(value, *((low, high) if interval else (None, None)), sign=sign)


def _at(rows: pl.DataFrame, label: str, k: int, *, is_open: bool) -> list[Block]:
    """Systems by metrics at one k, the plain ones first, then those by inverse exposure."""
    plain = _systems(rows, label, k, _PLAIN)
    if not plain:
        return []
    title = f"By inverse exposure, at {k} ({label})"
    weighted = Table(title, _systems(rows, label, k, _WEIGHTED), system_title(HYBRID))
    open_table = Table(f"Systems at {k} ({label})", plain, system_title(HYBRID))
    blocks: list[Block] = [open_table, Fold(title, [weighted])]
    return blocks if is_open else [Fold(f"At {k} ({label})", blocks)]


def _systems(rows: pl.DataFrame, label: str, k: int, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    at_k = rows.filter(pl.col("k") == k)
    own = at_k.filter(pl.col("label") == label, pl.col("metric").is_in(metrics))
    of_lists = at_k.filter(pl.col("label") == ANY_PLAY, pl.col("metric").is_in(_OF_LISTS))
    cells: dict[tuple[str, str], str] = {}
    for frame in (own, of_lists):
        for system, metric, value, low, high in frame.select(
            "system", "metric", "value", "low", "high"
        ).iter_rows():
            cells[system, metric] = with_interval(value, low, high)
    shown = [*metrics, *(_OF_LISTS if metrics == _PLAIN else ())]
    return [
        {"system": system_title(system)} | {f"{metric}@{k}": cells.get((system, metric)) for metric in shown}
        for system in distinct(own, "system")
    ]


def _differences(whole: pl.DataFrame, label: str, k: int) -> Table:
    """Those whose interval excludes 0 are marked."""
    rows: dict[str, dict[str, Any]] = {}
    own = whole.filter(pl.col("label") == label, pl.col("k") == k)
    for metric in (*_PLAIN, *_WEIGHTED):
        part = own.filter(pl.col("metric") == metric + VERSUS_HYBRID)
        for system, value, low, high in part.select("system", "value", "low", "high").iter_rows():
            mark = " *" if low > 0 or high < 0 else ""
            row = rows.setdefault(system, {"system": system_title(system)})
            row[f"{metric}@{k}"] = with_interval(value, low, high, sign=True) + mark
    return Table(f"Minus the published lists, at {k} ({label})", list(rows.values()), note=STARS)


STARS = "* The interval excludes 0: more than chance."
