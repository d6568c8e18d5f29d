"""The original work's attempts and the hybrid in one table, by each protocol that was evaluated."""

import polars as pl

from pipelines.evaluate.figures import ALL
from pipelines.evaluate.next_day import NEXT_DAY
from pipelines.evaluate.protocols import IMPRESSIONS, KUAIREC
from pipelines.report.blocks import Block, Table
from pipelines.report.numerals import with_interval
from pipelines.report.tables import distinct

_K = 10
_HYBRID = "Hybrid"
# Each attempt's system where lists of past days are judged, and where pairs are put in order.
_ATTEMPTS = (
    ("0 Popularity", "popularity_1_day", "popularity_by_engagement"),
    ("1 ALS", "source_als", "als"),
    ("2 Transformer", "source_sequence", "transformer"),
    ("3 Classifier", "classifier", "classifier"),
    ("4 Regressor", "regressor", "regressor"),
    (_HYBRID, "hybrid", "hybrid"),
)


def attempts_blocks(figures: pl.DataFrame, label: str) -> list[Block]:
    """NDCG@10 of each attempt, a column a protocol; what was not measured says so.

    Args:
        label: which plays count as liked.
    """
    own = figures.filter(
        pl.col("metric") == "ndcg", pl.col("k") == _K, pl.col("slice") == ALL, pl.col("label") == label
    )
    known = [name for name in (NEXT_DAY, KUAIREC, IMPRESSIONS) if name in distinct(own, "protocol")]
    found = {
        (protocol, system): with_interval(value, low, high)
        for protocol, system, value, low, high in own.select(
            "protocol", "system", "value", "low", "high"
        ).iter_rows()
    }
    rows = [
        {"attempt": title}
        | {
            f"NDCG@{_K} {protocol}": found.get(
                (protocol, of_lists if protocol == NEXT_DAY else of_pairs), "not measured"
            )
            for protocol in known
        }
        for title, of_lists, of_pairs in _ATTEMPTS
    ]
    note = (
        "The transformer is measured where `sequence` is among `[retrieval] sources` and beats popularity on "
        "its stop day. Of past days, one on which it does not has no list of it, which counts as 0."
    )
    return [Table(f"Attempts 0 to 4 and the hybrid ({label})", rows if known else [], _HYBRID, note)]
