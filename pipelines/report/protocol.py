"""The section of a protocol that ranks held-out pairs: curves, tables at k, differences, lists, slices."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from pipelines.evaluate.facts import ProtocolFacts
from pipelines.evaluate.figures import ALL, ANY_LABEL, VERSUS_HYBRID
from pipelines.evaluate.system_names import HYBRID
from pipelines.report.blocks import Block, Charts, Fold, Heading, Paragraph, Table
from pipelines.report.charts import Axis, Chart, Line, lines
from pipelines.report.names import system_title
from pipelines.report.next_day import STARS
from pipelines.report.numerals import between, count, number, with_interval
from pipelines.report.tables import distinct

_CURVES = (("ndcg", "NDCG"), ("recall", "Recall"))
_TABLES = (
    ("ndcg", "NDCG"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("map", "MAP"),
    ("ndcg_graded", "NDCG, graded"),
    ("mrr", "MRR"),
    ("hit_rate", "Hit rate"),
)
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
LABEL_TITLES = {
    "ratio": "Label ratio: watch_ratio above the threshold",
    "duration": "Label duration: above the quantile of plays of videos of similar length",
}
# The systems of the curves; the tables have every system.
_DRAWN = ("random", "popularity_by_engagement", "als", "hybrid", "truth")
_SHORT = {"hybrid": "Hybrid", "popularity_by_engagement": "Popularity", "als": "ALS alone"}
_MAIN = system_title(HYBRID)
_AT = 10


def protocol_blocks(figures: pl.DataFrame, facts: ProtocolFacts | None, protocol: str) -> list[Block]:
    """Everything of one protocol, the label that the rankers learn first."""
    whole = figures.filter(pl.col("protocol") == protocol)
    blocks: list[Block] = [] if facts is None else [Paragraph(_facts(facts)), _filters(facts)]
    for at, (label, title) in enumerate(LABEL_TITLES.items()):
        own = whole.filter(pl.col("label") == label, pl.col("slice") == ALL)
        part: list[Block] = [
            Charts([chart for metric, name in _CURVES if (chart := _curve(own, metric, name)) is not None]),
            *(_at_k(own, metric, name, label) for metric, name in _TABLES),
            _versus_hybrid(own, label),
        ]
        blocks += [Heading(title), *part] if at == 0 else [Fold(title, part)]
    of_lists = whole.filter(pl.col("k") == _AT, pl.col("slice") == ALL, pl.col("label") == ANY_LABEL)
    single = whole.filter(pl.col("k").is_null(), pl.col("slice") == ALL)
    single = single.with_columns(pl.concat_str("metric", pl.lit(" ("), "label", pl.lit(")")).alias("metric"))
    biases = [_bias(whole, *axis) for axis in _BIASES]
    return [
        *blocks,
        Table(f"What the lists are like, at {_AT}", _systems_by(of_lists, _OF_LISTS), _MAIN),
        Table("Predictions", _systems_by(single, distinct(single, "metric")), _MAIN),
        Charts([chart for chart in (_reliability(whole), *biases) if chart is not None]),
        Table("The hybrid in parts of the data", _slices(whole)),
    ]


def _facts(facts: ProtocolFacts) -> str:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in facts.blend_weights.items())
    return (
        f"{count(facts.pairs)} pairs of {count(facts.users)} users, features as of "
        f"{facts.features_as_of}. {count(facts.validation_users)} validation users "
        f"chose the blend: {weights or 'none'}."
    )


def _filters(facts: ProtocolFacts) -> Table:
    tried = facts.hybrid_by_filter_k_on_the_tuning_users
    row = {f"filter_k {k}": value for k, value in tried.items()}
    has_any = bool(tried) and bool(facts.validation_users)
    return Table(
        "The hybrid by filter_k, mean of NDCG@10 and @100 of the validation users", [row] if has_any else []
    )


def _curve(own: pl.DataFrame, metric: str, name: str) -> Chart | None:
    rows = own.filter(pl.col("metric") == metric).sort("k")
    ks = rows["k"].unique().sort().to_list()
    if not ks:
        return None
    series = [
        Line(
            system,
            _SHORT.get(system, system_title(system)),
            *(part[column].to_list() for column in ("k", "value", "low", "high")),
        )
        for system in _DRAWN
        for part in [rows.filter(pl.col("system") == system)]
        if part.height
    ]
    axis = Axis(
        [(float(k), count(k)) for k in ks], "top of the list", "first K of the list", logarithmic=True
    )
    return lines(
        series, title=f"{name} at K", sentence=_says(series, ks[0], name), x_axis=axis, y_end="better"
    )


def _says(series: Sequence[Line], k: int, name: str) -> str:
    """The figures at the smallest k in words, highest first: the chart's start, where lists matter most."""
    first = sorted(series, key=lambda line: -line.y[0])
    parts = [
        f"{line.title.lower() if line.title != 'ALS alone' else line.title} {number(line.y[0])}"
        for line in first
    ]
    return f"{name}@{k}: {', '.join(parts)}."


def _at_k(own: pl.DataFrame, metric: str, name: str, label: str) -> Table:
    rows = []
    for system in distinct(own, "system"):
        part = own.filter(pl.col("system") == system, pl.col("metric") == metric).sort("k")
        row: dict[str, Any] = {"system": system_title(system)}
        for k, value, low, high in part.select("k", "value", "low", "high").iter_rows():
            row[f"@{k}"] = value
            if k == _AT and low is not None:
                row["95 % at 10"] = between(low, high)
        rows.append(row)
    return Table(f"{name} at K ({label})", rows, main=_MAIN)


def _versus_hybrid(own: pl.DataFrame, label: str) -> Table:
    """Paired differences from the hybrid at 10; those whose interval excludes 0 are marked."""
    rows = []
    for system in distinct(own, "system"):
        row: dict[str, Any] = {"system": system_title(system)}
        for metric in ("ndcg", "ndcg_graded", "precision", "map"):
            part = own.filter(
                pl.col("system") == system, pl.col("metric") == metric + VERSUS_HYBRID, pl.col("k") == _AT
            )
            for value, low, high in part.select("value", "low", "high").iter_rows():
                mark = " *" if low > 0 or high < 0 else ""
                row[metric] = with_interval(value, low, high, sign=True) + mark
        if len(row) > 1:
            rows.append(row)
    return Table(f"Minus the hybrid, at {_AT} ({label})", rows, note=STARS)


def _systems_by(rows: pl.DataFrame, names: Iterable[str]) -> list[dict[str, Any]]:
    values = {(s, m): v for s, m, v in rows.select("system", "metric", "value").iter_rows()}
    return [
        {"system": system_title(system)} | {name: values.get((system, name)) for name in names}
        for system in distinct(rows, "system")
    ]


def _reliability(whole: pl.DataFrame) -> Chart | None:
    def of(metric: str) -> list[float]:
        found: list[float] = whole.filter(pl.col("metric") == metric)["value"].to_list()
        return found

    predicted, observed = of("reliability_predicted"), of("reliability_observed")
    if not predicted:
        return None
    series = [
        Line("classifier", "Classifier", predicted, observed),
        Line("perfect", "Perfect", [0.0, 1.0], [0.0, 1.0]),
    ]
    furthest = max(abs(a - b) for a, b in zip(predicted, observed, strict=True))
    return lines(
        series,
        title="Reliability: share liked by predicted probability",
        sentence=f"Where the line meets the diagonal, probabilities can be taken literally; it is off by at "
        f"most {number(furthest)}.",
        x_axis=Axis([(n / 5, f"{n / 5:.1f}") for n in range(6)], "thought unlikely", "thought likely"),
        y_end="share liked",
    )


# Slices, their title, what the ends of the axis mean.
_BIASES = (
    ("popularity", "Positions by popularity of the video", "least watched", "most watched"),
    ("length", "Positions by length of the video", "shortest", "longest"),
)


def _bias(whole: pl.DataFrame, family: str, title: str, start: str, end: str) -> Chart | None:
    rows = whole.filter(
        pl.col("metric") == "share_of_list",
        pl.col("k") == _AT,
        pl.col("slice").str.starts_with(f"{family}: "),
    )
    names = distinct(rows, "slice")
    if not names:
        return None
    series = []
    for system in [name for name in _DRAWN if name in distinct(rows, "system")]:
        own = rows.filter(pl.col("system") == system)
        of_slice = {
            name: (v, low, high)
            for name, v, low, high in own.select("slice", "value", "low", "high").iter_rows()
        }
        x, values = zip(
            *((n, of_slice[name]) for n, name in enumerate(names) if name in of_slice), strict=True
        )
        title_ = "There is" if system == "random" else _SHORT.get(system, system_title(system))
        series.append(Line(system, title_, x, *(list(column) for column in zip(*values, strict=True))))
    hybrid = next(line for line in series if line.system == HYBRID)
    most = max(range(len(hybrid.y)), key=lambda n: hybrid.y[n])
    part = names[int(hybrid.x[most])].removeprefix(f"{family}: ")
    return lines(
        series,
        title=title,
        sentence=f"The hybrid gives most of its first {_AT} positions, {number(hybrid.y[most])}, to "
        f"{part}; a list in random order shows what there is.",
        x_axis=Axis([(float(n), str(n + 1)) for n in range(len(names))], start, end),
        y_end=f"share of the first {_AT}",
    )


def _slices(whole: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for name in distinct(whole, "slice"):
        part = whole.filter(pl.col("slice") == name, pl.col("system") == HYBRID, pl.col("k") == _AT)
        row: dict[str, Any] = {"slice": name}
        for label in LABEL_TITLES:
            own = part.filter(pl.col("label") == label, pl.col("metric") == "ndcg")
            for value, low, high, users in own.select("value", "low", "high", "users").iter_rows():
                row |= {f"NDCG@10 {label}": with_interval(value, low, high), "users": users}
        indices = part.filter(pl.col("metric") == "share_of_list")["value"]
        row["share of positions"] = indices[0] if len(indices) else None
        if len(row) > 2:
            rows.append(row)
    return rows
