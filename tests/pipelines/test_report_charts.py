"""Where charts put what they show."""

import re
from itertools import pairwise

import pytest

from pipelines.report.charts import Axis, Chart, Line, lines, shares, spans

TICKS = Axis([(10.0, "10"), (100.0, "100")], "top", "end", logarithmic=True)


def _chart(*series: Line) -> Chart:
    return lines(series, title="t", sentence="s", x_axis=TICKS, y_end="better")


def test_a_line_stands_where_its_values_are() -> None:
    (stroke,) = _chart(Line("hybrid", "Hybrid", [10, 100], [0.0, 1.0])).strokes
    assert stroke.points == "46.0,216.0 278.0,30.0"


def test_labels_of_lines_that_end_alike_do_not_touch() -> None:
    chart = _chart(
        *(Line(name, name, [10, 100], [0.5, 1.0]) for name in ("hybrid", "als", "random", "truth"))
    )
    heights = sorted(text.y for text in chart.texts if text.ink)
    assert len(heights) == 4
    assert min(b - a for a, b in pairwise(heights)) >= 15


def test_labels_at_the_bottom_stay_on_the_chart() -> None:
    chart = _chart(*(Line(name, name, [10, 100], [1.0, 0.0]) for name in ("hybrid", "als", "random")))
    assert max(text.y for text in chart.texts if text.ink) <= 216 + 4


def test_the_ends_of_the_axes_are_named() -> None:
    words = " ".join(text.text for text in _chart(Line("hybrid", "Hybrid", [10, 100], [0.1, 0.2])).texts)
    assert "↑ better" in words and "← top" in words and "end →" in words


def test_bars_are_as_long_as_their_shares() -> None:
    first, second = shares([("a", 0.5), ("b", 0.25)], title="t", sentence="s").bars
    assert first.width == pytest.approx(2 * second.width)


def test_an_interval_spans_from_low_to_high_and_the_hybrid_is_thick() -> None:
    chart = spans(
        [("hybrid", "Hybrid", 0.5, 0.25, 0.75), ("als", "ALS", 0.5, 0.25, 0.75)],
        title="t", sentence="s", end="more",
    )  # fmt: skip
    hybrid, other = chart.bars
    assert hybrid.x == other.x and hybrid.width == other.width > 0 and hybrid.height > other.height
    assert re.fullmatch(r"Hybrid: 0\.5000 \[0\.2500, 0\.7500\]", chart.strokes[0].dots[0][2])
