"""How numbers are written on the whole page: four digits after the point, true minus signs."""

import math
from typing import Any

MINUS = "\N{MINUS SIGN}"
NONE = "–"


class Numeral(str):
    """A text that is a number: tables put it to the right."""

    __slots__ = ()


def _four(value: float, sign: str = "") -> str:
    """Four digits after the point; what rounds to 0 has no minus."""
    return f"{round(value, 4) + 0.0:{sign}.4f}"


def number(value: float | None) -> Numeral:
    """A metric or another measured value."""
    if value is None or not math.isfinite(value):
        return Numeral(NONE)
    return Numeral((_four(value) if abs(value) < 100 else f"{value:,.0f}").replace("-", MINUS))


def signed(value: float | None) -> Numeral:
    """A difference, with its sign."""
    if value is None or not math.isfinite(value):
        return Numeral(NONE)
    return Numeral(_four(value, "+").replace("-", MINUS))


def count(value: int) -> Numeral:
    """A count, with separators."""
    return Numeral(f"{value:,}".replace("-", MINUS))


def between(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """An interval in brackets; empty where there is none."""
    if low is None or high is None:
        return ""
    write = signed if sign else number
    return f"[{write(low)}, {write(high)}]"


def with_interval(value: float, low: float | None, high: float | None, *, sign: bool = False) -> Numeral:
    """A value and its interval."""
    return Numeral(f"{signed(value) if sign else number(value)} {between(low, high, sign=sign)}".rstrip())


def plain(value: Any) -> str:
    """Any cell of a table."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return count(value) if isinstance(value, int) else str(value)
