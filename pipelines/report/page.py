"""The page itself: the verdict, the lists of the last days, then all else folded, in one HTML text.

It loads nothing from the network and runs no script; its policy allows only its own style sheet.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipelines.evaluate.facts import EvaluateFacts, SampleRow
from pipelines.evaluate.next_day import NEXT_DAY
from pipelines.evaluate.protocols import IMPRESSIONS, KUAIREC
from pipelines.rankers.importances import Importance
from pipelines.report import names
from pipelines.report.attempts import attempts_blocks
from pipelines.report.blocks import Block, Section, without_empty
from pipelines.report.headline import Headline
from pipelines.report.history import Record
from pipelines.report.next_day import details, main_table
from pipelines.report.protocol import protocol_blocks
from pipelines.report.run import models_blocks, run_blocks, samples_blocks
from pipelines.report.sequence_curve import curve_blocks
from pipelines.report.shared_lists import shared_blocks
from pipelines.report.tables import distinct
from pipelines.report.trend import trend
from pipelines.report.verdict import Verdict

_FOLDER = Path(__file__).parent / "templates"
_PROTOCOLS = {
    KUAIREC: "Protocol kuairec: fully observed pairs",
    IMPRESSIONS: "Protocol impressions: only what was shown",
}


@dataclass(frozen=True)
class Content:
    """The content of the page.

    Attributes:
        figures: the records of metrics.json as a table.
        label: which plays count as liked.
        records: those of past reports, this one last.
        sequence: the file of the transformer that was trained last.
    """

    figures: pl.DataFrame
    label: str
    headline: Headline | None
    verdict: Verdict
    records: Sequence[Record]
    importances: Sequence[Importance]
    sequence: Path | None
    samples: Sequence[SampleRow]
    facts: EvaluateFacts | None
    model: Mapping[str, Any]
    settings: Sequence[Mapping[str, Any]]
    data: Sequence[Mapping[str, Any]]
    stages: Sequence[Mapping[str, Any]]


def page(content: Content) -> str:
    """The whole report as one HTML document."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(anchor=names.anchor, term=names.term_of, code=_code)
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("report.html")
    return template.render(
        style=style,
        style_digest=digest,
        model=str(content.model["version"]),
        verdict=content.verdict,
        sections=_sections(content),
        glossary=names.GLOSSARY,
    )


def _code(text: str) -> Markup:
    """Words in backticks as code, everything escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def _sections(content: Content) -> list[Section]:
    figures, facts = content.figures, content.facts
    judged = None if facts is None else facts.next_day
    others = {} if facts is None else facts.protocols
    first: list[Block] = []
    if content.headline is not None and content.headline.protocol == NEXT_DAY:
        first = main_table(figures, judged, content.headline)
    known = [name for name in _PROTOCOLS if name in distinct(figures, "protocol")]
    sections = [
        Section(NEXT_DAY, "Protocol next_day: the lists of the last days", first, is_open=True),
        Section("trend", "Past reports", trend(content.records), is_open=True),
        Section("next_day_more", "The last days by label, depth, metric and day", details(figures, judged)),
        Section("shared", "Lists that are not a user's: related and popular videos", shared_blocks(figures)),
        Section(
            "attempts", "The original work's attempts, side by side", attempts_blocks(figures, content.label)
        ),
        *(Section(n, _PROTOCOLS[n], protocol_blocks(figures, others.get(n), n)) for n in known),
        Section("models", "What the models read", models_blocks(content.importances)),
        Section("sequence", "How the transformer over plays was trained", curve_blocks(content.sequence)),
        Section("samples", "Sample lists", samples_blocks(content.samples)),
        Section(
            "run", "The run: data, stages, settings",
            run_blocks(content.data, content.model, content.stages, content.settings),
        ),
    ]  # fmt: skip
    kept = [Section(one.name, one.title, without_empty(one.blocks), one.is_open) for one in sections]
    return [one for one in kept if one.blocks]
