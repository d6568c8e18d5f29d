"""The page itself: sections of tables and charts, in one HTML text that asks the network for nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from operator import itemgetter
from typing import Any

import polars as pl

from nightreel.core import columns
from pipelines.evaluate.next_day import NEXT_DAY
from pipelines.report.charts import Line, bars, colour, lines
from pipelines.report.next_day import next_day
from pipelines.report.tables import distinct, html_table

_CURVES = (("ndcg", "NDCG"), ("precision", "Precision"), ("recall", "Recall"), ("map", "MAP"))
_TABLES = (*_CURVES, ("ndcg_graded", "NDCG, graded"), ("mrr", "MRR"), ("hit_rate", "Hit rate"))
_OF_LISTS = (
    "coverage",
    "gini",
    "novelty",
    "popularity_percentile",
    "mean_length_s",
    "category_diversity",
    "fresh_share",
    "short_list",
    "repeats",
)
_LABELS = {
    "ratio": "label ratio: watch_ratio above the threshold",
    "duration": "label duration: above the quantile of plays of videos of like length",
}
_COMPARED = ("popularity_by_engagement", "als", "hybrid", "truth")
_IMPORTANCES = 20
# Precision@10, recall@10, NDCG@10 by its own list and MAP@10, as published for KuaiRec 2.0.
_PUBLISHED = {"classifier": (0.9072, 0.0095, None, 0.0090), "regressor": (0.9112, 0.0095, 0.6900, 0.0090)}
_PUBLISHED_HYBRID = (0.9074, 0.0095, 0.9065, 0.0090)
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:1.5rem;color:#202124}
h1{font-size:1.7rem;margin:0}h2{margin:2.2rem 0 .6rem;border-bottom:2px solid #d01884;padding-bottom:.2rem}
h3{margin:1.2rem 0 .4rem}nav a{margin-right:1rem}p{max-width:75ch}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:#3c4043}.grid{stroke:#e3e5e8}
.legend{font-size:12px;margin:.1rem 0}.legend span{margin-right:.8rem;white-space:nowrap}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:.3rem 0 .8rem;break-inside:avoid}
th,td{padding:.18rem .55rem;border-bottom:1px solid #e3e5e8;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr.main{background:#fdeef6;font-weight:600}
details{margin:.3rem 0}summary{cursor:pointer;font-weight:600}
small{color:#5f6368}@media print{nav{display:none}body{max-width:none;padding:0;font-size:11px}
h2{break-after:avoid}.charts{grid-template-columns:1fr 1fr}}
"""


@dataclass(frozen=True)
class Content:
    """What the page shows. figures: the records of metrics.json as a table; the rest: rows by name."""

    figures: pl.DataFrame
    importances: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Sequence[Mapping[str, Any]]
    data: Sequence[Mapping[str, Any]]
    stages: Sequence[Mapping[str, Any]]


def page(content: Content) -> str:
    """The whole report as one HTML document."""
    protocols = [name for name in ("kuairec", "impressions") if name in distinct(content.figures, "protocol")]
    judged = next_day(content.figures, content.facts.get(NEXT_DAY, {}))
    sections = [(NEXT_DAY, "Protocol next_day: the lists of the last days", judged)] if judged else []
    sections += [(str(name), f"Protocol {name}", _protocol(content, name)) for name in protocols]
    sections += [
        ("leakage", "What leakage and definition are worth", _leakage(content)),
        ("models", "What the models read", _models(content)),
        ("samples", "Sample lists", _samples(content)),
        ("run", "The run", _run(content)),
    ]
    links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{escape(title)}</h2>{text}</section>' for name, title, text in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,"><title>nightreel evaluation</title>'
        f"<style>{_STYLE}</style></head><body><h1>nightreel evaluation</h1>"
        f"<p>Model {escape(str(content.model['version']))}. Bands and brackets are 95 % bootstrap intervals "
        f"over users.</p><nav>{links}</nav>{body}</body></html>"
    )


def _protocol(content: Content, protocol: str) -> str:
    whole = content.figures.filter(pl.col("protocol") == protocol)
    facts = content.facts.get(protocol, {})
    parts = [
        f"<p>{facts.get('pairs', 0):,} pairs of {facts.get('users', 0):,} users, features as of "
        f"{escape(str(facts.get('features_as_of', '')))}. "
        f"{facts.get('users_that_chose_settings', 0):,} other users chose the blend: "
        f"{escape(_weights(facts.get('blend_weights', {})))}.</p>",
        _filters(facts),
    ]
    for label, title in _LABELS.items():
        own = whole.filter(pl.col("label") == label, pl.col("slice") == "all")
        parts.append(f"<h3>{escape(title)}</h3>")
        curves = [_curve(own, metric, name) for metric, name in _CURVES]
        parts.append(f'<div class="charts">{"".join(curves)}</div>')
        parts += [_at_k(own, metric, name) for metric, name in _TABLES]
        parts.append(_versus_hybrid(own))
    parts.append("<h3>What the lists are like, at 10</h3>")
    of_lists = whole.filter(pl.col("k") == 10, pl.col("slice") == "all", pl.col("label") == "any")
    parts.append(_systems_by(of_lists, _OF_LISTS, "metric"))
    parts.append("<h3>Predictions</h3>")
    single = whole.filter(pl.col("k").is_null(), pl.col("slice") == "all")
    single = single.with_columns(pl.concat_str("metric", pl.lit(" ("), "label", pl.lit(")")).alias("metric"))
    parts.append(_systems_by(single, distinct(single, "metric"), "metric"))
    parts.append(
        f'<div class="charts">{_reliability(whole)}{_bias(whole, "popularity")}{_bias(whole, "length")}</div>'
    )
    parts.append("<h3>The hybrid in parts of the data</h3>" + _slices(whole))
    return "".join(parts)


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items()) or "none"


def _filters(facts: Mapping[str, Any]) -> str:
    tried = facts.get("hybrid_by_filter_k_on_the_tuning_users", {})
    if not tried or not facts.get("users_that_chose_settings"):
        return ""
    row = {f"filter_k {k}": value for k, value in tried.items()}
    return "<p>The hybrid by filter_k, mean of NDCG@10 and @100 of the tuning users:</p>" + html_table([row])


def _curve(own: pl.DataFrame, metric: str, name: str) -> str:
    rows = own.filter(pl.col("metric") == metric).sort("k")
    ks = rows["k"].unique().sort().to_list()
    series = [
        Line(system, *(part[column].to_list() for column in ("k", "value", "low", "high")))
        for system in distinct(rows, "system")
        for part in [rows.filter(pl.col("system") == system)]
    ]
    ticks = [(float(k), str(k)) for k in ks]
    return lines(series, title=f"{name} at K", x_title="K", ticks=ticks, logarithmic=True) if ks else ""


def _at_k(own: pl.DataFrame, metric: str, name: str) -> str:
    rows = []
    for system in distinct(own, "system"):
        part = own.filter(pl.col("system") == system, pl.col("metric") == metric).sort("k")
        row: dict[str, Any] = {name: system}
        for k, value, low, high in part.select("k", "value", "low", "high").iter_rows():
            row[f"@{k}"] = value
            if k == 10 and low is not None:
                row["95 % at 10"] = f"[{low:.4f}, {high:.4f}]"
        rows.append(row)
    return html_table(rows, main="hybrid")


def _versus_hybrid(own: pl.DataFrame) -> str:
    """Paired differences to the hybrid at 10; those whose interval leaves out 0 are marked."""
    rows = []
    for system in distinct(own, "system"):
        row: dict[str, Any] = {"minus the hybrid, at 10": system}
        for metric in ("ndcg", "ndcg_graded", "precision", "map"):
            part = own.filter(
                pl.col("system") == system, pl.col("metric") == f"{metric}_minus_hybrid", pl.col("k") == 10
            )
            for value, low, high in part.select("value", "low", "high").iter_rows():
                mark = " *" if low > 0 or high < 0 else ""
                row[metric] = f"{value:+.4f} [{low:+.4f}, {high:+.4f}]{mark}"
        if len(row) > 1:
            rows.append(row)
    return html_table(rows) + "<small>* the interval leaves out 0.</small>" if rows else ""


def _systems_by(rows: pl.DataFrame, names: Iterable[str], column: str) -> str:
    values = {(s, m): v for s, m, v in rows.select("system", column, "value").iter_rows()}
    table = [
        {"system": system} | {name: values.get((system, name)) for name in names}
        for system in distinct(rows, "system")
    ]
    return html_table(table, main="hybrid")


def _reliability(whole: pl.DataFrame) -> str:
    def of(metric: str) -> list[float]:
        found: list[float] = whole.filter(pl.col("metric") == metric)["value"].to_list()
        return found

    predicted, observed = of("reliability_predicted"), of("reliability_observed")
    if not predicted:
        return ""
    none: list[float | None] = [None] * len(predicted)
    ticks = [(place / 5, f"{place / 5:.1f}") for place in range(6)]
    series = [
        Line("classifier", predicted, observed, none, none),
        Line("perfect", [0.0, 1.0], [0.0, 1.0], [None, None], [None, None]),
    ]
    title = "Reliability: share liked by predicted probability"
    return lines(series, title=title, x_title="predicted", ticks=ticks, logarithmic=False)


def _bias(whole: pl.DataFrame, family: str) -> str:
    rows = whole.filter(
        pl.col("metric") == "share_of_places",
        pl.col("k") == 10,
        pl.col("slice").str.starts_with(f"{family}: "),
    )
    names = distinct(rows, "slice")
    if not names:
        return ""
    series = []
    for system in [name for name in ("random", *_COMPARED) if name in distinct(rows, "system")]:
        part = rows.filter(pl.col("system") == system)
        found = {
            name: (v, low, high)
            for name, v, low, high in part.select("slice", "value", "low", "high").iter_rows()
        }
        values = [found[name] for name in names]
        series.append(
            Line(system, range(len(names)), *(list(column) for column in zip(*values, strict=True)))
        )
    ticks = [
        (float(i), name.removeprefix(f"{family}: ").replace("decile ", "")) for i, name in enumerate(names)
    ]
    title = f"Share of the first 10 places by {family} (random: what there is)"
    return lines(series, title=title, x_title=family, ticks=ticks, logarithmic=False)


def _slices(whole: pl.DataFrame) -> str:
    rows = []
    for name in distinct(whole, "slice"):
        part = whole.filter(pl.col("slice") == name, pl.col("system") == "hybrid", pl.col("k") == 10)
        row: dict[str, Any] = {"slice": name}
        for label in _LABELS:
            own = part.filter(pl.col("label") == label, pl.col("metric") == "ndcg")
            for value, low, high, users in own.select("value", "low", "high", "users").iter_rows():
                row |= {f"NDCG@10 {label}": f"{value:.4f} [{low:.4f}, {high:.4f}]", "users": users}
        places = part.filter(pl.col("metric") == "share_of_places")["value"]
        row["share of places"] = places[0] if len(places) else None
        if len(row) > 2:
            rows.append(row)
    return html_table(rows)


def _leakage(content: Content) -> str:
    figures = content.figures.filter(pl.col("protocol").str.starts_with("as-published"))
    if figures.is_empty():
        return "<p>Not evaluated: it needs fully observed pairs and as_published_plays above 0.</p>"
    metrics = ("precision", "recall", "ndcg_own_list", "map", "ndcg")
    rows: list[dict[str, Any]] = []
    for protocol in distinct(figures, "protocol"):
        for system in ("classifier", "regressor", "hybrid"):
            part = figures.filter(pl.col("protocol") == protocol, pl.col("system") == system)
            at_10 = part.filter(pl.col("k") == 10)
            values = dict(at_10.select("metric", "value").iter_rows())
            own = part.filter(pl.col("metric") == "validation_auc")["value"]
            row = {"fit": protocol, "system": system} | {f"{name}@10": values.get(name) for name in metrics}
            rows.append(row | {"AUC on its own 15 %": own[0] if len(own) else None})
    for system, values_10 in {**_PUBLISHED, "hybrid": _PUBLISHED_HYBRID}.items():
        names = [f"{name}@10" for name in metrics[:4]]
        rows.append(
            {"fit": "published, KuaiRec 2.0", "system": system} | dict(zip(names, values_10, strict=True))
        )
    return (
        "<p>Three fits of the original's models on the same plays: with its leaks, with features as they "
        "were known but its in-sample ALS, and without any leak. Compare each one's AUC on its own random "
        "validation plays with how it ranks pairs that nobody has seen. <em>ndcg_own_list</em> is the "
        "published definition, by the best order of the system's own list, which forgives whatever the list "
        "leaves out; <em>ndcg</em> is by the best of all videos.</p>" + html_table(rows)
    )


def _models(content: Content) -> str:
    charts = []
    for model in ("classifier", "regressor"):
        gains = {str(row[columns.FEATURE]): float(row[f"{model}_gain"]) for row in content.importances}
        rows = sorted(gains.items(), key=itemgetter(1), reverse=True)[:_IMPORTANCES]
        charts.append(bars(rows, title=f"{model}: share of gain", ink=colour(model)))
    return f'<div class="charts">{"".join(charts)}</div>'


def _samples(content: Content) -> str:
    parts = []
    seen = dict.fromkeys((row["protocol"], row[columns.USER_ID]) for row in content.samples)
    for protocol, user in seen:
        rows = [
            {name: value for name, value in row.items() if name not in {"protocol", columns.USER_ID}}
            for row in content.samples
            if (row["protocol"], row[columns.USER_ID]) == (protocol, user)
        ]
        parts.append(f"<h3>User {user}, {escape(protocol)}</h3>{html_table(rows)}")
    return "".join(parts)


def _run(content: Content) -> str:
    model = [{"fact": name, "value": value} for name, value in content.model.get("data", {}).items()]
    parts = ["<h3>Data</h3>", html_table(content.data), "<h3>Training</h3>", html_table(model)]
    if content.stages:
        parts += ["<h3>Stages</h3>", html_table(content.stages)]
    return "".join([*parts, "<h3>Settings</h3>", html_table(content.settings)])
