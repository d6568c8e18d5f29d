"""The section on lists that are not a user's: related and popular videos, each beside its baseline."""

from collections.abc import Iterator

import polars as pl

from pipelines.backtest_files import POPULAR, RELATED
from pipelines.evaluate.figures import ALL
from pipelines.evaluate.next_day import ANY_PLAY
from pipelines.report.blocks import Block, Fold, Heading, Paragraph, Table
from pipelines.report.names import system_title
from pipelines.report.numerals import with_interval
from pipelines.report.tables import distinct

_KINDS = {
    RELATED: (
        "Related videos",
        "A hit: the list of a video contains the user's next play in the same session. Compared with "
        "what was played most the day before.",
    ),
    POPULAR: (
        "Popular videos",
        "Found are the videos that users liked, or played, on the day; the hit rate is the share of users "
        "with one of them in the list. Compared with what was liked most the day before.",
    ),
}


def shared_blocks(figures: pl.DataFrame) -> list[Block]:
    """Tables for liked plays and for all of each kind of list, then by day and segment."""
    blocks: list[Block] = []
    for kind, (title, said) in _KINDS.items():
        own = figures.filter(pl.col("protocol") == kind)
        if not own.is_empty():
            blocks += [Heading(title), Paragraph(said), *_tables(own, kind)]
    return blocks


def _tables(own: pl.DataFrame, kind: str) -> Iterator[Block]:
    labels = [label for label in distinct(own, "label") if label != ANY_PLAY]
    for label in (*labels, ANY_PLAY):
        of_label = own.filter(pl.col("label") == label)
        plays = "all plays" if label == ANY_PLAY else f"liked plays, label {label}"
        whole = of_label.filter(pl.col("slice") == ALL)
        yield Table(f"{_KINDS[kind][0]}: {plays}", _rows(whole), system_title(kind))
        parts = [
            Table(f"{part}: {plays}", _rows(of_label.filter(pl.col("slice") == part)), system_title(kind))
            for part in distinct(of_label, "slice")
            if part != ALL
        ]
        if parts:
            yield Fold(f"{_KINDS[kind][0]}, {plays}: by day and segment", parts)


def _rows(figures: pl.DataFrame) -> list[dict[str, str]]:
    """A row a system, a column a metric and depth."""
    rows: dict[str, dict[str, str]] = {}
    columns = ("system", "metric", "k", "value", "low", "high")
    for system, metric, k, value, low, high in figures.select(columns).iter_rows():
        row = rows.setdefault(system, {"system": system_title(system)})
        name = "share found" if metric == "micro_recall" else metric.replace("_", " ")
        row[f"{name} @{k}"] = with_interval(value, low, high)
    return list(rows.values())
