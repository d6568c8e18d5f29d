"""The verdict as one line for a terminal: is the list better than yesterday's popularity, by how much."""

import json

import polars as pl

from nightreel.core.settings.needs import LogNeeds
from pipelines.evaluate import EVALUATE
from pipelines.report.headline import headline
from pipelines.report.history import record_of
from pipelines.report.verdict import verdict


def verdict_line(settings: LogNeeds) -> str:
    """The first sentence of the report's verdict, from the last evaluation; the same words, good or bad."""
    file = settings.paths.evaluation / "metrics.json"
    if not file.is_file():
        return "Whether the lists are better than yesterday's popularity is not known: nothing was evaluated."
    text = file.read_text(encoding="utf-8")
    figures = pl.DataFrame(json.loads(text), infer_schema_length=None)
    found = headline(figures, EVALUATE.last_facts(settings), settings.data.targets.label)
    return verdict(found, record_of(found, figures, digest="", model="", settings={}), None).is_better
