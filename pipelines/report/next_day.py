"""The first table of the page: each system's lists of the last days, judged by what was then played."""

from collections.abc import Mapping
from html import escape
from typing import Any

import polars as pl

from pipelines.evaluate.figures import ALL, VERSUS_HYBRID
from pipelines.evaluate.next_day import ANY_PLAY, NEXT_DAY
from pipelines.evaluate.next_day_figures import METRICS, MICRO_RECALL, MICRO_RECALL_IPS
from pipelines.labels import LABELS
from pipelines.report.tables import distinct, html_table

_PLAIN = (*(metric for metric in METRICS if not metric.endswith("_ips")), MICRO_RECALL)
_WEIGHTED = (*(metric for metric in METRICS if metric.endswith("_ips")), MICRO_RECALL_IPS)
_OF_LISTS = ("coverage", "gini")
_MAIN = "hybrid"


def next_day(figures: pl.DataFrame, facts: Mapping[str, Any]) -> str:
    """The section; empty where no lists of past days were judged.

    facts: what `evaluate` said of the protocol; the label that the rankers learn is its first.
    """
    own = figures.filter(pl.col("protocol") == NEXT_DAY)
    if own.is_empty():
        return ""
    said = [name.removeprefix("by_label_") for name in facts if name.startswith("by_label_")]
    labels = [label for label in (said or [*LABELS, ANY_PLAY]) if label in distinct(own, "label")]
    ks = sorted(own["k"].unique().to_list())
    whole = own.filter(pl.col("slice") == ALL)
    parts = [
        f"<p><strong>{escape(str(facts.get('verdict', '')))}</strong></p>",
        "<p>Every system lists, from the whole catalogue, what each user had not played at the start of each "
        "day; relevant is what was then played for the first time. Nothing that ranks here saw these days. "
        "<em>hybrid</em> are the lists as published.</p>",
        *(f"<p>{escape(str(remark))}</p>" for remark in facts.get("remarks", [])),
    ]
    for number, label in enumerate(labels):
        title = "All plays" if label == ANY_PLAY else f"Liked plays, label {label}"
        text = "".join(_at(whole, label, k, is_open=k == ks[0]) for k in ks)
        text += _folded("Paired differences to the published lists", _differences(whole, label, ks[0]))
        for day in [one for one in distinct(own, "slice") if one != ALL]:
            of_day = own.filter(pl.col("slice") == day)
            text += _folded(day, "".join(_at(of_day, label, k, is_open=True) for k in ks))
        parts.append(f"<h3>{escape(title)}</h3>{text}" if number == 0 else _folded(title, text))
    parts.append("<h3>What each day was judged by</h3>" + html_table(facts.get("days", [])))
    return "".join(parts)


def _at(rows: pl.DataFrame, label: str, k: int, *, is_open: bool) -> str:
    """Systems by metrics at one k, the plain ones first, then those by inverse exposure."""
    plain = _systems(rows, label, k, _PLAIN)
    weighted = _systems(rows, label, k, _WEIGHTED)
    if not plain:
        return ""
    text = html_table(plain, main=_MAIN) + _folded(
        f"By inverse exposure, at {k}", html_table(weighted, main=_MAIN)
    )
    return f"<p>At {k}:</p>{text}" if is_open else _folded(f"At {k}", text)


def _systems(rows: pl.DataFrame, label: str, k: int, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    at_k = rows.filter(pl.col("k") == k)
    own = at_k.filter(pl.col("label") == label, pl.col("metric").is_in(metrics))
    of_lists = at_k.filter(pl.col("label") == ANY_PLAY, pl.col("metric").is_in(_OF_LISTS))
    cells: dict[tuple[str, str], str] = {}
    for frame in (own, of_lists):
        for system, metric, value, low, high in frame.select(
            "system", "metric", "value", "low", "high"
        ).iter_rows():
            interval = "" if low is None else f" [{low:.4f}, {high:.4f}]"
            cells[system, metric] = f"{value:.4f}{interval}"
    shown = [*metrics, *(_OF_LISTS if metrics == _PLAIN else ())]
    return [
        {"system": system} | {f"{metric}@{k}": cells.get((system, metric)) for metric in shown}
        for system in distinct(own, "system")
    ]


def _differences(whole: pl.DataFrame, label: str, k: int) -> str:
    """Those whose interval leaves out 0 are marked."""
    rows: dict[str, dict[str, Any]] = {}
    own = whole.filter(pl.col("label") == label, pl.col("k") == k)
    for metric in (*_PLAIN, *_WEIGHTED):
        part = own.filter(pl.col("metric") == metric + VERSUS_HYBRID)
        for system, value, low, high in part.select("system", "value", "low", "high").iter_rows():
            mark = " *" if low > 0 or high < 0 else ""
            row = rows.setdefault(system, {"system": system})
            row[f"{metric}@{k}"] = f"{value:+.4f} [{low:+.4f}, {high:+.4f}]{mark}"
    return html_table(list(rows.values())) + "<small>* the interval leaves out 0.</small>"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{text}</details>"
