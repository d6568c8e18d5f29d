"""The headline figures over past reports."""

from collections.abc import Sequence

from pipelines.report.blocks import Block, Charts
from pipelines.report.charts import Axis, Line, lines
from pipelines.report.history import POPULARITY, PUBLISHED, Record
from pipelines.report.numerals import number

_SHOWN_MAX = 60
_DATE = len("2020-09-05")  # more of a model's version would leave the chart


def trend(records: Sequence[Record]) -> list[Block]:
    """A chart over the reports that are comparable with the last one; empty if there is only one.

    Args:
        records: oldest first, this report last.
    """
    same = [one for one in records if dict(one.asked) == dict(records[-1].asked) and PUBLISHED in one.figures]
    same = same[-_SHOWN_MAX:]
    if len(same) < 2:
        return []
    values = [one.figures[PUBLISHED] for one in same]
    series = [
        Line(
            "hybrid",
            "Published lists",
            range(len(same)),
            [value for value, _, _ in values],
            [low for _, low, _ in values],
            [high for _, _, high in values],
        )
    ]
    known = [(n, one.figures[POPULARITY][0]) for n, one in enumerate(same) if POPULARITY in one.figures]
    if known:
        x, y = zip(*known, strict=True)
        series.append(Line("popularity_1_day", "Popularity", x, y))
    ticks = [(0.0, same[0].until[:_DATE]), (float(len(same) - 1), same[-1].until[:_DATE])]
    chart = lines(
        series,
        title=f"The last {len(same)} reports",
        sentence=f"The published lists went from {number(values[0][0])} to {number(values[-1][0])} over "
        f"{len(same)} reports that measured the same.",
        x_axis=Axis(ticks, "first report", "this report"),
        y_end="more found",
    )
    return [Charts([chart])]
