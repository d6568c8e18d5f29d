"""Tables of the page: rows as HTML, numbers to the right, everything escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl


def html_table(rows: Sequence[Mapping[str, Any]], main: str | None = None) -> str:
    """The rows as a table, its columns those that any row has. main: rows with this value stand out."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {
        name: all(
            isinstance(row.get(name), int | float | None) and not isinstance(row.get(name), bool)
            for row in rows
        )
        for name in columns
    }
    head = "".join(f"<th{_class(numeric[name])}>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr{' class=main' if main is not None and main in row.values() else ''}>"
        + "".join(f"<td{_class(numeric[name])}>{escape(_text(row.get(name)))}</td>" for name in columns)
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 100_000 else str(value)


def distinct(rows: pl.DataFrame, column: str) -> list[str]:
    """A column's values, each once, in the order of the rows."""
    found: list[str] = rows[column].unique(maintain_order=True).to_list()
    return found
