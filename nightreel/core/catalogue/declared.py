"""The features that columns of users' and items' own files become, as `[data]` declares them."""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.entries import Feature, Table, View
from nightreel.core.log_layout import feature_name
from nightreel.core.settings import DataSettings

# Columns of these types become features of their own; other roles feed features that nightreel has.
_FEATURES = ("numeric", "categorical", "music")
OWN = "own"  # the group of views that a home has beside nightreel's


def declared_views(settings: DataSettings) -> tuple[View, ...]:
    """A view of users and one of items, with a feature for every declared column except texts.

    Texts of items are treated as captions: the features of `video_text` come from them.
    """
    if settings.log is None:
        return ()
    return (
        *_view("user", "users", settings.log.user_columns),
        *_user_text(settings),
        *_view("item", "video_captions", settings.log.item_columns),
    )


def _user_text(settings: DataSettings) -> tuple[View, ...]:
    texts = () if settings.log is None else settings.log.user_texts
    if not texts:
        return ()
    how = "TF-IDF of characters and their pairs, reduced by SVD; words of the users who had played by then"
    of_what = f"Text of users, of {', '.join(texts)}"
    features = tuple(
        Feature(name, "user", f"{of_what}: dimension {n}.", how=how)
        for n, name in enumerate(columns.USER_TEXT_FEATURES)
    )
    stamped = "Each user's text, from the first ALS refit or its arrival on."
    return (View(columns.USER_TEXT, ("user",), f"{of_what}, as numbers.", features, OWN, stamped),)


def _view(of: Literal["user", "item"], table: Table, declared: Mapping[str, str]) -> tuple[View, ...]:
    entity = "user" if of == "user" else "video"
    features = tuple(
        Feature(
            feature_name(of, column),
            entity,
            f"Column {column} of the file of {of}s.",
            pl.col(feature_name(of, column)).last(),
            table=table,
            type="float32" if kind == "numeric" else "string",
            kind="numeric" if kind == "numeric" else "categorical",
        )
        for column, kind in declared.items()
        if kind in _FEATURES
    )
    if not features:
        return ()
    name, of_what = (
        f"declared_{of}_columns",
        f"Columns of the file of {of}s that [data.{of}_columns] declares.",
    )
    return (View(name, (entity,), of_what, features, OWN, f"The file of {of}s, always known."),)
