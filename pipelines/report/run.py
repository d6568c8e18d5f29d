"""Sections about the run itself: what models read, sample lists, data, stages, settings."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from nightreel.core import columns
from pipelines.evaluate.facts import SampleRow
from pipelines.rankers.importances import Importance
from pipelines.report.blocks import Block, Charts, Heading, Paragraph, Table
from pipelines.report.charts import Chart, shares
from pipelines.report.numerals import Numeral

_IMPORTANCES = 12


def models_blocks(importances: Sequence[Importance]) -> list[Block]:
    """Each model's most used features."""
    classifier = {row["feature"]: row["classifier_gain"] for row in importances}
    regressor = {row["feature"]: row["regressor_gain"] for row in importances}
    return [Charts([_gains(classifier, "classifier"), _gains(regressor, "regressor")])]


def _gains(gains: Mapping[str, float], model: str) -> Chart:
    rows = sorted(gains.items(), key=itemgetter(1), reverse=True)[:_IMPORTANCES]
    first = f"{rows[0][0]} alone has {rows[0][1]:.4f}" if rows else "no feature was used"
    return shares(
        rows,
        title=f"{model}: share of gain",
        sentence=f"Of what the {model}'s trees gained, {first}; {len(rows)} of {len(gains)} features.",
    )


def samples_blocks(samples: Sequence[SampleRow]) -> list[Block]:
    """A few users' lists."""
    blocks: list[Block] = []
    for protocol, user in dict.fromkeys((row["protocol"], row["user_id"]) for row in samples):
        rows = [
            {name: _id(value) if name == columns.VIDEO_ID else value for name, value in row.items()
             if name not in {"protocol", columns.USER_ID}}
            for row in samples
            if (row["protocol"], row["user_id"]) == (protocol, user)
        ]  # fmt: skip
        blocks.append(Table(f"User {user}, {protocol}", rows))
    return blocks or [Paragraph("No list was kept.")]


def run_blocks(
    data: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    settings: Sequence[Mapping[str, Any]],
) -> list[Block]:
    """Facts that a reader needs to reproduce the figures."""
    trained = [{"fact": name, "value": value} for name, value in model.get("data", {}).items()]
    timed = [
        {name: Numeral(f"{value:.1f}") if isinstance(value, float) else value for name, value in row.items()}
        for row in stages
    ]
    return [
        Table("Data", data),
        Table("Training", trained),
        Table("Stages", timed),
        Heading("Settings"),
        Table("Every setting that is not a path, its value and where it came from", settings),
    ]


def _id(value: Any) -> Any:
    """Ids are names: no separators."""
    return Numeral(str(value)) if isinstance(value, int) else value
