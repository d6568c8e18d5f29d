"""What the original work published, apart from what this run measures by its protocol."""

from typing import Any

import polars as pl

from pipelines.report.blocks import Block, Paragraph, Table
from pipelines.report.names import system_title
from pipelines.report.tables import distinct

_METRICS = ("precision", "recall", "ndcg_own_list", "map", "ndcg")
# Precision@10, recall@10, NDCG@10 by its own list and MAP@10, as published for KuaiRec 2.0.
_PUBLISHED = {
    "classifier": (0.9072, 0.0095, None, 0.0090),
    "regressor": (0.9112, 0.0095, 0.6900, 0.0090),
    "hybrid": (0.9074, 0.0095, 0.9065, 0.0090),
}


def leakage_blocks(figures: pl.DataFrame) -> list[Block]:
    """Three fits of the original's models on this run's plays."""
    own = figures.filter(pl.col("protocol").str.starts_with("as-published"))
    if own.is_empty():
        return [Paragraph("Not evaluated: it needs fully observed pairs and as_published_plays above 0.")]
    rows: list[dict[str, Any]] = []
    for protocol in distinct(own, "protocol"):
        for system in _PUBLISHED:
            part = own.filter(pl.col("protocol") == protocol, pl.col("system") == system)
            values = dict(part.filter(pl.col("k") == 10).select("metric", "value").iter_rows())
            areas = part.filter(pl.col("metric") == "validation_auc")["value"]
            row: dict[str, Any] = {"fit": protocol, "system": _title(system)}
            row |= {f"{name}@10": values.get(name) for name in _METRICS}
            rows.append(row | {"AUC on its own 15 %": areas[0] if len(areas) else None})
    return [
        Paragraph(
            "Three fits of the original's models on the same plays: with its leaks, with features as they "
            "were known but its in-sample ALS, and without any leak. Compare each one's AUC on its own "
            "random validation plays with how it ranks pairs that nobody has seen. ndcg_own_list is the "
            "published definition, by the best order of the system's own list, which forgives whatever the "
            "list leaves out; ndcg is by the best of all videos."
        ),
        Table("This run, by the original's protocol", rows),
    ]


def published_blocks() -> list[Block]:
    """Figures of other data, which no run here can reach or miss."""
    rows = [
        {"system": _title(system)} | dict(zip([f"{name}@10" for name in _METRICS[:4]], values, strict=True))
        for system, values in _PUBLISHED.items()
    ]
    return [
        Paragraph(
            "These figures are of KuaiRec 2.0, by a protocol with leaks, and not of this run: neither data "
            "nor definitions are those of the tables above."
        ),
        Table("As published by the original work", rows),
    ]


def _title(system: str) -> str:
    return "Hybrid" if system == "hybrid" else system_title(system)
