"""Charts as inline SVG, drawn here so that a report needs nothing from anywhere: lines, bands, bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 540, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 14, 44
_COLOURS = {
    "random": "#9aa0a6",
    "popularity_by_views": "#c98f00",
    "popularity_by_engagement": "#e8710a",
    "als": "#a142f4",
    "classifier": "#1a73e8",
    "regressor": "#12a4af",
    "hybrid": "#d01884",
    "lambdamart": "#188038",
    "blend": "#5f4b32",
    "truth": "#202124",
}
_OTHERS = ("#1a73e8", "#d01884", "#188038", "#e8710a", "#a142f4", "#12a4af")


@dataclass(frozen=True)
class Line:
    """One line: x ascending, y, and a band from low to high, each None where there is none."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]


def colour(name: str, place: int = 0) -> str:
    """The colour of a system, the same in every chart."""
    return _COLOURS.get(name, _OTHERS[place % len(_OTHERS)])


def lines(
    series: Sequence[Line], *, title: str, x_title: str, ticks: Sequence[tuple[float, str]], logarithmic: bool
) -> str:
    """A line chart with bands; the vertical axis begins at 0 and ends above the highest value."""
    top = _nice(max((value for line in series for value in (*line.y, *_known(line.high))), default=1.0))
    places = [_position(value, logarithmic) for value, _ in ticks]
    first, last = min(places), max(places)
    span = (last - first) or 1.0

    def x(value: float) -> float:
        return _LEFT + (_position(value, logarithmic) - first) / span * (_WIDTH - _LEFT - _RIGHT)

    parts = [_axes(top, x_title, [(x(value), text) for value, text in ticks])]
    for place, line in enumerate(series):
        ink = colour(line.name, place)
        both = [
            (a, low, high)
            for a, low, high in zip(line.x, line.low, line.high, strict=True)
            if low is not None
        ]
        if len(both) > 1:
            edge = [f"{x(a):.1f},{_y(high or 0, top):.1f}" for a, _, high in both]
            edge += [f"{x(a):.1f},{_y(low or 0, top):.1f}" for a, low, _ in reversed(both)]
            parts.append(f'<polygon points="{" ".join(edge)}" fill="{ink}" opacity="0.13"/>')
        points = " ".join(f"{x(a):.1f},{_y(b, top):.1f}" for a, b in zip(line.x, line.y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.8"/>')
        parts += [
            f'<circle cx="{x(a):.1f}" cy="{_y(b, top):.1f}" r="2.4" fill="{ink}">'
            f"<title>{escape(line.name)}: {b:.4f}</title></circle>"
            for a, b in zip(line.x, line.y, strict=True)
        ]
    return _figure(
        title, parts, _HEIGHT, [(line.name, colour(line.name, i)) for i, line in enumerate(series)]
    )


def bars(rows: Sequence[tuple[str, float]], *, title: str, ink: str) -> str:
    """Horizontal bars with their names and values, in the order given."""
    height = 18 * len(rows) + 10
    top = max((value for _, value in rows), default=1.0) or 1.0
    parts = []
    for place, (name, value) in enumerate(rows):
        y = 6 + 18 * place
        width = value / top * (_WIDTH - 270)
        parts.append(f'<text x="200" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="206" y="{y}" width="{max(width, 0.5):.1f}" height="13" fill="{ink}"/>')
        parts.append(f'<text x="{210 + width:.1f}" y="{y + 11}">{value:.1%}</text>')
    return _figure(title, parts, height, [])


def _figure(title: str, parts: Sequence[str], height: int, legend: Sequence[tuple[str, str]]) -> str:
    keys = "".join(f'<span><i style="background:{ink}"></i>{escape(name)}</span>' for name, ink in legend)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg><p class="legend">{keys}</p></figure>'
    )


def _axes(top: float, x_title: str, ticks: Sequence[tuple[float, str]]) -> str:
    parts = []
    for step in range(6):
        value = top * step / 5
        y = _y(value, top)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    bottom = _HEIGHT - _BOTTOM
    parts += [
        f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{escape(t)}</text>' for x, t in ticks
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>')
    return "".join(parts)


def _y(value: float, top: float) -> float:
    return _TOP + (1 - value / top) * (_HEIGHT - _TOP - _BOTTOM)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _position(value: float, logarithmic: bool) -> float:
    return math.log(value) if logarithmic else value


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten at or above a positive value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value * 0.999)
