"""Charts as inline SVG: the position of each line, mark and label; `templates/chart.html` draws it.

Each is as wide as a phone, so that its letters are as large as the text on every screen. Colours are classes
of the style sheet, which has a light and a dark scheme. Why no plotting library:
docs/decisions/report-charts.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipelines.report.numerals import between, number

WIDTH = 420.0
_HEIGHT = 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 142.0, 30.0, 44.0
_LINE_PX = 15.0
_ROW_PX = 30.0
_MAIN = "hybrid"
# The same system has the same colour in every chart.
_INKS = {
    _MAIN: "main",
    "popularity_1_day": "popularity",
    "popularity_by_engagement": "popularity",
    "als": "als",
    "classifier": "main",
    "regressor": "main",
    "random": "faint",
    "truth": "truth",
    "perfect": "faint",
}


@dataclass(frozen=True)
class Line:
    """One line: x ascending, y, and a band from low to high, each None where there is none."""

    system: str
    title: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Axis:
    """An axis: ticks of value and text, and what its two ends mean."""

    ticks: Sequence[tuple[float, str]]
    start: str
    end: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Text:
    """Words at a point.

    Attributes:
        anchor: start, middle or end.
    """

    x: float
    y: float
    text: str
    anchor: str = "start"
    ink: str = ""


@dataclass(frozen=True)
class Stroke:
    """A line, or a mark with the text that it shows when pointed at."""

    points: str
    ink: str
    band: str = ""
    dots: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Bar:
    """A bar, or a span of an interval."""

    x: float
    y: float
    width: float
    height: float
    ink: str


@dataclass(frozen=True)
class Chart:
    """The shapes of a chart, a title above it, and a sentence under it that says what it shows."""

    title: str
    sentence: str
    height: float
    grid: Sequence[float] = ()
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    strokes: Sequence[Stroke] = ()
    bars: Sequence[Bar] = ()
    texts: Sequence[Text] = field(default_factory=tuple)
    width: float = WIDTH


def colour(system: str) -> str:
    """The class of a system's colour."""
    return _INKS.get(system, "other")


def lines(series: Sequence[Line], *, title: str, sentence: str, x_axis: Axis, y_end: str) -> Chart:
    """Lines with their names at their right end; the hybrid is drawn last, over the others, and thick.

    The vertical axis begins at 0 and ends above the highest value; y_end says what its upper end means.
    """
    top = _nice(max((value for line in series for value in (*line.y, *_known(line.high))), default=1.0))
    first, last = (_position(x_axis.ticks[n][0], x_axis) for n in (0, -1))
    span = (last - first) or 1.0

    def x(value: float) -> float:
        return round(_LEFT + (_position(value, x_axis) - first) / span * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - value / top) * (_HEIGHT - _TOP - _BOTTOM), 1)

    drawn = sorted(series, key=lambda line: colour(line.system) == "main")
    strokes = [_stroke(line, x, y) for line in drawn]
    ends = [(y(line.y[-1]), line) for line in drawn]
    labels = [
        Text(WIDTH - _RIGHT + 8, at + 4, line.title, "start", colour(line.system))
        for at, line in _spread(ends, low=_TOP, high=_HEIGHT - _BOTTOM)
    ]
    bottom = _HEIGHT - _BOTTOM
    steps = [top * step / 4 for step in range(5)]
    texts = [
        *(Text(_LEFT - 6, y(step) + 4, f"{step:.3g}", "end") for step in steps),
        *(Text(x(value), bottom + 17, text, "middle") for value, text in x_axis.ticks),
        Text(0, 14, f"↑ {y_end}"),
        Text(0, _HEIGHT - 6, f"← {x_axis.start}"),
        Text(WIDTH, _HEIGHT - 6, f"{x_axis.end} →", "end"),
    ]
    return Chart(
        title, sentence, _HEIGHT, grid=[y(step) for step in steps], strokes=strokes, texts=[*texts, *labels]
    )


def spans(
    rows: Sequence[tuple[str, str, float, float | None, float | None]], *, title: str, sentence: str, end: str
) -> Chart:
    """A row for each system, best first: a mark at its value and a bar over its interval.

    Args:
        rows: system, its title, value, low, high.
        end: the meaning of the right end of the axis.
    """
    top = _nice(max((high if high is not None else value for _, _, value, _, high in rows), default=1.0))
    bars, texts, strokes = [], [], []
    left, right = 4.0, WIDTH - 4.0

    def x(value: float) -> float:
        return round(left + value / top * (right - left), 1)

    for number_, (system, name, value, low, high) in enumerate(rows):
        y = _TOP + _ROW_PX * number_
        ink = colour(system)
        thick = 8.0 if ink == "main" else 4.0
        middle = y + 20
        if low is not None and high is not None:
            bars.append(Bar(x(low), middle - thick / 2, max(x(high) - x(low), 1.0), thick, ink))
        tip = f"{name}: {number(value)} {between(low, high)}".rstrip()
        strokes.append(Stroke("", ink, dots=[(x(value), middle, tip)]))
        texts.append(Text(left, y + 11, name, "start", ink))
        texts.append(Text(right, y + 11, number(value), "end", ink))
    height = _TOP + _ROW_PX * len(rows) + 22
    texts += [Text(left, height - 5, "0"), Text(right, height - 5, f"{end}, {top:.3g} →", "end")]
    return Chart(
        title, sentence, height, grid=[height - 18], left=left, right=right,
        strokes=strokes, bars=bars, texts=texts,
    )  # fmt: skip


def shares(rows: Sequence[tuple[str, float]], *, title: str, sentence: str) -> Chart:
    """Bars with their names above them, in the order given."""
    top = max((value for _, value in rows), default=1.0) or 1.0
    bars, texts = [], []
    for number_, (name, value) in enumerate(rows):
        y = _ROW_PX * number_
        texts.append(Text(4, y + 13, name))
        texts.append(Text(WIDTH - 4, y + 13, number(value), "end"))
        bars.append(Bar(4, y + 18, round(max(value / top * (WIDTH - 8), 0.5), 1), 7, "main"))
    return Chart(title, sentence, _ROW_PX * len(rows) + 4, bars=bars, texts=texts)


def _stroke(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> Stroke:
    both = [
        (at, low, high)
        for at, low, high in zip(line.x, line.low, line.high, strict=False)
        if low is not None and high is not None
    ]
    edge = [f"{x(at)},{y(high)}" for at, _, high in both] + [
        f"{x(at)},{y(low)}" for at, low, _ in reversed(both)
    ]
    points = [
        (x(at), y(value), f"{line.title}: {number(value)}") for at, value in zip(line.x, line.y, strict=True)
    ]
    return Stroke(
        " ".join(f"{a},{b}" for a, b, _ in points),
        colour(line.system),
        band=" ".join(edge) if len(both) > 1 else "",
        dots=points,
    )


def _spread(ends: Sequence[tuple[float, Line]], *, low: float, high: float) -> list[tuple[float, Line]]:
    """Labels at the height of their lines, moved apart if they would overlap."""
    ordered = sorted(ends, key=lambda end: end[0])
    heights: list[float] = []
    for at, _ in ordered:
        heights.append(max(at, heights[-1] + _LINE_PX if heights else low))
    # A label that was pushed below the chart pushes those above it up again.
    for n in reversed(range(len(heights))):
        limit = heights[n + 1] - _LINE_PX if n + 1 < len(heights) else high
        heights[n] = min(heights[n], limit)
    return [(height, line) for height, (_, line) in zip(heights, ordered, strict=True)]


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _position(value: float, axis: Axis) -> float:
    return math.log(value) if axis.logarithmic else value


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 4, 5, 8 times a power of ten at or above a positive value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power for step in (1.0, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0) if step * power >= value * 0.999
    )
