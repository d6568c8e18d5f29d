"""Helpers for the rows of tables."""

import polars as pl


def distinct(rows: pl.DataFrame, column: str) -> list[str]:
    """A column's values, each once, in the order of the rows."""
    found: list[str] = rows[column].unique(maintain_order=True).to_list()
    return found
