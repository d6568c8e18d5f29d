"""The owner's rules, resolved: their items are videos of the night, their segments users of the table."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.ids import Ids
from nightreel.core.log_layout import user_column
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds, NightNeeds
from scoring.lists.rules.owner import (
    AUTHOR,
    CATEGORY,
    ITEM_KINDS,
    NO_RULES,
    VIDEO,
    NightRules,
    OwnerRule,
    in_force,
)

if TYPE_CHECKING:
    from scoring.lists.candidates import About


def rules_of_night(
    settings: NightNeeds, rules: Sequence[OwnerRule], as_of: datetime, video_id: np.ndarray, about: "About"
) -> NightRules:
    """The rules in force at an instant, given settings of a home with the tables known then."""
    if not rules:
        return NO_RULES
    asked = {kind: {rule.item for rule in rules if rule.item_kind == kind} for kind in ITEM_KINDS}
    items = {
        VIDEO: _by_id(settings.paths, columns.VIDEO_ID, asked[VIDEO], video_id),
        AUTHOR: _by_id(settings.paths, columns.AUTHOR_ID, asked[AUTHOR], about.author),
        CATEGORY: _by_category(settings.paths, asked[CATEGORY], about.category),
    }
    segments = {rule.segment for rule in rules if rule.segment is not None}
    return in_force(
        rules,
        as_of,
        top_k=settings.lists.top_k,
        items=items,
        users_of={segment: _users_of(settings, *segment) for segment in segments},
    )


def _by_id(paths: Paths, column: str, items: set[str], of_videos: np.ndarray) -> dict[str, np.ndarray]:
    if not items:
        return {}
    codes = Ids.of(paths, column).codes_of(items)
    return {str(item): of_videos == code for item, code in codes.items()}


def _by_category(paths: Paths, items: set[str], category: np.ndarray) -> dict[str, np.ndarray]:
    """A category of the first level goes by its name, or by its number."""
    found = {item: category == int(item) for item in items if item.isdecimal()}
    captions = paths.table("video_captions")
    if items - found.keys() and captions.is_file():
        level, name = columns.CATEGORY_LEVELS[0], columns.CATEGORY_NAMES[0]
        named = pl.scan_parquet(captions).filter(pl.col(name).is_in(list(items))).select(level, name).unique()
        for code, said in named.collect().rows():
            found[said] = found.get(said, np.zeros(len(category), dtype=bool)) | (category == code)
    return found


def _users_of(settings: DatabaseNeeds, column: str, value: str) -> np.ndarray | None:
    users = pl.scan_parquet(settings.paths.table("users"))
    names = users.collect_schema().names()
    column = user_column(column, names)
    if column not in names:
        return None
    found = users.filter(pl.col(column).cast(pl.String) == value).select(columns.USER_ID).collect()
    return np.sort(found[columns.USER_ID].to_numpy().astype(np.int64))
