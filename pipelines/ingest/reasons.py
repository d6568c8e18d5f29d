"""The reasons in words why a raw file's value is refused, and the texts that mean a missing value."""

import polars as pl

# Texts that programs write for a missing value, in a column of any kind.
NO_VALUE = ("NULL", "null", "Null", "NaN", "nan", "None", "<NA>", "\\N")


# In a column of texts, these may be real values.
NO_NUMBER = (*NO_VALUE, "NA", "none", "NAN", "N/A", "")


_SHOWN_CHARACTERS = 40


OUT_OF_RANGE = "is not between {} and a day past now"


def reason_where(text: pl.Series, flags: pl.Series, column: str, problem: pl.Expr) -> pl.Series:
    """A line for each flagged text: which column, the text, and the problem; null for the others."""
    shown = text.str.slice(0, _SHOWN_CHARACTERS).str.replace_all(r"\s", " ")
    words = pl.format(f'column {column}: "{{}}" {{}}', shown, problem)
    return pl.select(pl.when(flags).then(words)).to_series()


def only_where(values: pl.Series, keep: pl.Series) -> pl.Series:
    """The values where `keep` is true, null elsewhere."""
    return pl.select(pl.when(keep).then(values).alias(values.name)).to_series()
