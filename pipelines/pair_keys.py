"""The keys of views about a user and a group of videos, such as an author."""

from collections.abc import Sequence

import pyarrow as pa
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS, Entity
from nightreel.core.errors import InputError

_GROUP_BY_KEY = {group.join_key: group for group in GROUPS}


def is_of_pairs(store: FeatureStore, view: str) -> bool:
    """Whether a view's keys are a user and a group of videos."""
    return len(store.get_feature_view(view).join_keys) > 1


def group_of(store: FeatureStore, view: str) -> Entity:
    """The group of videos in the keys of a view of pairs.

    Raises:
        InputError: for a view of other keys.
    """
    keys: list[str] = store.get_feature_view(view).join_keys
    if len(keys) != 2 or keys[0] != columns.USER_ID or keys[1] not in _GROUP_BY_KEY:
        raise InputError(
            f"Feature view {view}: its keys are {keys}; a row is of a user and a video.",
            "Key it by user, by video, or by user and one group of videos.",
        )
    return _GROUP_BY_KEY[keys[1]]


def with_groups(store: FeatureStore, rows: pa.Table, views: Sequence[str]) -> pa.Table:
    """Rows of videos with the keys of these views' groups, as known at each row's instant.

    Args:
        rows: at least video_id and event_timestamp.
    """
    groups = {group.join_key: group for group in (group_of(store, view) for view in views)}
    if not groups:
        return rows
    job = store.get_historical_features(
        entity_df=rows.select([columns.VIDEO_ID, columns.EVENT_TIMESTAMP]),
        features=[f"{columns.VIDEO_PROFILE}:{group.of_video}" for group in groups.values()],
    )
    positions = job.positions(columns.VIDEO_PROFILE)
    indices = pa.array(positions, mask=positions < 0)
    for key, group in groups.items():
        values = job.source_column(columns.VIDEO_PROFILE, str(group.of_video)).take(indices)
        rows = rows.append_column(key, values.cast(pa.int64()))
    return rows
