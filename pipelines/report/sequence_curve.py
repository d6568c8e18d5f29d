"""How the transformer over plays was trained last: its loss, and NDCG@10 on the day that stopped it."""

from pathlib import Path

import numpy as np

from nightreel.core.checksums import is_usable
from nightreel.core.settings import Paths
from pipelines.report.blocks import Block, Charts, Fold, Paragraph, Table
from pipelines.report.charts import Axis, Line, lines
from pipelines.report.numerals import count, number
from pipelines.retrieval.registry import file_name
from pipelines.retrieval.sequence.source import NAME


def newest_fit(paths: Paths) -> Path | None:
    """The file of the newest cutoff's transformer; None where none was trained."""
    found = [path for path in sorted(paths.retrieval.glob(f"*/{file_name(NAME)}")) if is_usable(path)]
    return found[-1] if found else None


def curve_blocks(path: Path | None) -> list[Block]:
    """The curve of a fit, and whether the transformer was used."""
    if path is None:
        return []
    with np.load(path) as stored:
        curve, popularity, is_used = stored["curve"], float(stored["popularity"]), bool(stored["used"])
    steps, losses, ndcg = curve.T.astype(float).tolist()
    best = int(np.argmax(ndcg))
    said = (
        f"Trained for {count(int(steps[-1]))} steps; kept is step {count(int(steps[best]))}, with NDCG@10 of "
        f"{number(ndcg[best])} on the stop day, where the best list for all has {number(popularity)}. "
    )
    said += "It is used." if is_used else "It does not beat popularity on its stop day, so it is not used."
    ticks = [(step, count(int(step))) for step in sorted({0.0, steps[-1] / 2, steps[-1]})]
    axis = Axis(ticks, "start", "steps")
    charts = [
        lines(
            [
                Line(NAME, "Transformer", steps, ndcg),
                Line("popularity_1_day", "Popularity", [steps[0], steps[-1]], [popularity] * 2),
            ],
            title="NDCG@10 on the stop day",
            sentence="What stops training: the best look is kept.",
            x_axis=axis,
            y_end="better",
        )
    ]
    if len(steps) > 1:
        ends = f"from {number(losses[1])} to {number(losses[-1])}"
        loss = lines(
            [Line(NAME, "Loss", steps[1:], losses[1:])],
            title="Loss",
            sentence=f"Cross-entropy of the next liked play, {ends}.",
            x_axis=axis,
            y_end="worse",
        )
        charts.append(loss)
    looks = [
        {"steps": count(int(step)), "loss": number(of_step), "NDCG@10": number(value)}
        for step, of_step, value in zip(steps, losses, ndcg, strict=True)
    ]
    note = "The loss is the mean since the look before."
    table = Table("Looks at the stop day", looks, looks[best]["steps"], note)
    return [Paragraph(said), Charts(charts), Fold("Every look at the stop day", [table])]
