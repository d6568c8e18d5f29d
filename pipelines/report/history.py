"""The headline figures of past reports, a line each, so that a report can say what changed since the last.

`data/report/history.jsonl` holds no user and no video. A report of the same evaluation replaces its line.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

import polars as pl

from nightreel.core.artefacts import atomic_write
from pipelines.backtest_files import HYBRID
from pipelines.evaluate.figures import ALL
from pipelines.evaluate.protocols import KUAIREC, RANKED
from pipelines.report.headline import Headline, Measured

HISTORY = "history.jsonl"
RECORDS_MAX = 400
PUBLISHED, POPULARITY, LEAD, SOURCE_LEAD = "published", "popularity", "lead", "source_lead"
# Figure: what it is called in a sentence.
FIGURES = {
    PUBLISHED: "the published lists",
    LEAD: "the lead over popularity",
    SOURCE_LEAD: "the lead over the best single source",
    f"{KUAIREC}_ndcg": "NDCG@10 on fully observed pairs",
    "impressions_ndcg": "NDCG@10 on what was shown",
}


@dataclass(frozen=True)
class Record:
    """One report.

    Attributes:
        digest: of the evaluation's figures.
        until: the last day judged, or else the model's version.
        asked: what was measured; only records that agree in it are compared.
    """

    digest: str
    model: str
    until: str
    asked: Mapping[str, Any]
    figures: Mapping[str, tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class Fall:
    """A figure that was higher in the last report."""

    name: str
    before: float
    now: float
    is_beyond_chance: bool


def record_of(
    found: Headline | None, figures: pl.DataFrame, *, digest: str, model: str, settings: Mapping[str, str]
) -> Record:
    """This report's line."""
    values: dict[str, Measured] = {}
    asked: dict[str, Any] = dict(settings)
    if found is not None:
        asked |= {"protocol": found.protocol, "label": found.label, "metric": found.metric, "k": found.k}
        values[PUBLISHED] = found.published
        if found.popularity is not None:
            values[POPULARITY] = Measured(found.popularity.value, None, None)
            values[LEAD] = found.popularity.lead
        if found.source is not None:
            values[SOURCE_LEAD] = found.source.lead
        for protocol in RANKED:
            own = figures.filter(
                pl.col("protocol") == protocol, pl.col("label") == found.label, pl.col("slice") == ALL,
                pl.col("system") == HYBRID, pl.col("metric") == "ndcg", pl.col("k") == 10,
            )  # fmt: skip
            for value, low, high in own.select("value", "low", "high").iter_rows():
                values[f"{protocol}_ndcg"] = Measured(value, low, high)
    until = found.days[-1] if found is not None and found.days else model
    return Record(digest, model, until, asked, {n: (m.value, m.low, m.high) for n, m in values.items()})


def past(path: Path, digest: str) -> list[Record]:
    """The records of other evaluations, oldest first; lines in another format are skipped."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = [record for text in texts if (record := _read(text)) is not None]
    return [record for record in found if record.digest != digest]


def keep(path: Path, records: Sequence[Record]) -> None:
    """Write the newest records back."""
    with atomic_write(path) as temporary:
        lines = [json.dumps(vars(record), ensure_ascii=False) for record in records[-RECORDS_MAX:]]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def falls(last: Record, now: Record) -> list[Fall]:
    """The figures that fell, largest fall first; beyond chance if by more than both intervals together."""
    found = []
    for name in FIGURES:
        if name not in last.figures or name not in now.figures:
            continue
        (before, *interval), (after, *own) = last.figures[name], now.figures[name]
        if after < before:
            noise = hypot(_half(interval), _half(own))
            found.append(Fall(name, before, after, before - after > noise))
    return sorted(found, key=lambda fall: (not fall.is_beyond_chance, fall.now - fall.before))


def _half(interval: Sequence[float | None]) -> float:
    low, high = interval
    return 0.0 if low is None or high is None else (high - low) / 2


def _read(text: str) -> Record | None:
    try:
        fields = json.loads(text)
        figures = {str(name): _figure(values) for name, values in fields["figures"].items()}
        digest, model, until = (str(fields[name]) for name in ("digest", "model", "until"))
        return Record(digest, model, until, dict(fields["asked"]), figures)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _figure(values: Any) -> tuple[float, float | None, float | None]:
    value, *ends = values
    low, high = (None if end is None else float(end) for end in ends)
    return float(value), low, high
