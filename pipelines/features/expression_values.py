"""The values of features' expressions for groups of rows."""

from collections.abc import Sequence

import polars as pl
from polars.dataframe.group_by import GroupBy

from nightreel.core.catalogue import Feature, View
from nightreel.core.errors import InputError


def expression_of(feature: Feature) -> pl.Expr:
    """The feature's own expression, which it must have."""
    assert feature.value is not None
    return feature.value


def evaluated(grouped: GroupBy, features: Sequence[Feature], view: View) -> pl.DataFrame:
    """Raises InputError where an expression cannot be evaluated, or gives a group several values."""
    try:
        found = grouped.agg(expression_of(feature).alias(feature.name) for feature in features)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        if len(features) > 1:
            for feature in features:  # one of them is at fault; find and name it
                evaluated(grouped, [feature], view)
        said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"{where_declared(view)}: feature {features[0].name!r}: {type(error).__name__}: {said}.",
            "docs/own-features.md has the columns of each table.",
        ) from None
    for feature in features:
        if isinstance(found[feature.name].dtype, pl.List | pl.Array):
            raise InputError(
                f"{where_declared(view)}: feature {feature.name!r} gives several values, not one.",
                "Aggregate: pl.len(), pl.col(...).mean() and the like.",
            )
    return found


def where_declared(view: View) -> str:
    """The module of the view's features, or the view, for a message."""
    return view.module or f"view {view.name}"
