"""The features that columns of users' and items' own files become, as `[data]` declares them."""

from typing import Literal

import polars as pl

from nightreel.core.catalogue.entries import Feature, Table, View
from nightreel.core.log_layout import ColumnType, feature_name
from nightreel.core.settings import Settings

OWN = "own"  # the group of views that a home has beside nightreel's


def declared_views(settings: Settings) -> tuple[View, ...]:
    """A view of users and one of items, each with a feature for every column that is declared, texts apart.

    Texts of items are captions: the features of `video_text` are made of them.
    """
    if settings.data.log is None:
        return ()
    return (
        *_view("user", "users", settings.data.log.user_columns),
        *_view("item", "video_captions", settings.data.log.item_columns),
    )


def _view(of: Literal["user", "item"], table: Table, declared: dict[str, ColumnType]) -> tuple[View, ...]:
    entity = "user" if of == "user" else "video"
    features = tuple(
        Feature(
            feature_name(of, column),
            entity,
            f"Column {column} of the file of {of}s.",
            pl.col(feature_name(of, column)).last(),
            table=table,
            type="float32" if kind == "numeric" else "string",
            kind=kind,
        )
        for column, kind in declared.items()
        if kind != "text"
    )
    if not features:
        return ()
    name, of_what = (
        f"declared_{of}_columns",
        f"Columns of the file of {of}s that [data.{of}_columns] declares.",
    )
    return (View(name, (entity,), of_what, features, OWN, f"The file of {of}s, always known."),)
