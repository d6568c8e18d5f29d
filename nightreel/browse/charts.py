"""Charts as numbers that a template draws: bars, and lines over days, with the largest value in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

# The drawing's area, in the units of its view box.
LEFT, RIGHT, TOP, BOTTOM = 60.0, 710.0, 14.0, 140.0


@dataclass(frozen=True)
class Bar:
    """One bar: its position, and its text on hover."""

    x: str
    y: str
    width: str
    height: str
    said: str


@dataclass(frozen=True)
class Bars:
    """A bar chart; `sentence` says what it shows, also for screen readers."""

    title: str
    sentence: str
    top: str
    first: str
    last: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Lines:
    """Named lines over the same days, with points in SVG's form."""

    title: str
    sentence: str
    top: str
    first: str
    last: str
    lines: tuple[tuple[str, str], ...]


def bars(title: str, values: Sequence[tuple[str, float]], *, unit: str = "") -> Bars:
    """A bar for each label and value, in this order."""
    top = max(value for _, value in values) or 1.0
    step = (RIGHT - LEFT) / len(values)
    width = min(step * 0.8, 40.0)
    drawn = []
    for n, (label, value) in enumerate(values):
        height = value / top * (BOTTOM - TOP)
        x = LEFT + step * (n + 0.5) - width / 2
        said = f"{label}: {_number(value)} {unit}".rstrip()
        drawn.append(Bar(f"{x:.1f}", f"{BOTTOM - height:.1f}", f"{width:.1f}", f"{height:.1f}", said))
    most = max(values, key=lambda one: one[1])
    sentence = f"{title}: at most {_number(most[1])} {unit}".rstrip() + f" ({most[0]})."
    return Bars(title, sentence, f"{_number(top)} {unit}".rstrip(), values[0][0], values[-1][0], tuple(drawn))


def lines(title: str, days: Sequence[date], series: Sequence[tuple[str, Sequence[float | None]]]) -> Lines:
    """A line for each name over ascending days; days without a value are skipped."""
    known = [value for _, values in series for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    first, span = days[0], max(1, (days[-1] - days[0]).days)
    drawn = tuple(
        (
            name,
            " ".join(
                f"{LEFT + (day - first).days / span * (RIGHT - LEFT):.1f},"
                f"{BOTTOM - value / top * (BOTTOM - TOP):.1f}"
                for day, value in zip(days, values, strict=True)
                if value is not None
            ),
        )
        for name, values in series
    )
    names = " and ".join(name for name, _ in series)
    sentence = f"{title}: {names} from {days[0]} to {days[-1]}, at most {_number(top)} on a day."
    return Lines(title, sentence, _number(top), f"{days[0]}", f"{days[-1]}", drawn)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
