"""Recognises numbers with decimal commas in columns where a comma cannot mean anything else."""

import re
from collections.abc import Iterable

import polars as pl

COMMA = ","
SHOWN = "decimal commas"
ADVICE = f'. For a decimal comma set [data.format] decimal = "{COMMA}"'
IN_COMMAS = r"^\s*[+-]?\d*,\d+\s*$"
_NUMBER = re.compile(r"[+-]?(\d+|\d*,\d+)")
# Such a comma may separate thousands.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_NO_VALUE = ("", "null", "nan", "none", "na", "n/a", "<na>", "\\n")


def have_commas(values: Iterable[str]) -> bool:
    """Whether all values are numbers and some have one comma, before decimals or after thousands."""
    texts = _values(values)
    return all(_NUMBER.fullmatch(one) for one in texts) and any(COMMA in one for one in texts)


def are_in_commas(values: Iterable[str]) -> bool:
    """Whether all values are numbers with decimal commas or whole ones, and some cannot be thousands."""
    texts = _values(values)
    with_commas = [one for one in texts if COMMA in one]
    if not all(_NUMBER.fullmatch(one) for one in texts):
        return False
    return not all(_THOUSANDS.fullmatch(one) for one in with_commas)


def _values(values: Iterable[str]) -> list[str]:
    return [one for value in values if (one := value.strip()).casefold() not in _NO_VALUE]


def with_points(text: pl.Series) -> pl.Series:
    """Numbers with decimal commas, written with decimal points."""
    return text.str.replace(COMMA, ".", literal=True)
