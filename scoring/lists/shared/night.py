"""The shared lists of a night: the kinds that the settings ask for, made as of its instant."""

from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import scan_days
from nightreel.core.settings.needs import RankerNeeds
from pipelines.labels import LengthBuckets
from pipelines.user_segments import users_by_segment
from scoring.lists.eligibility import play_batches
from scoring.lists.shared.popular import popular_lists
from scoring.lists.shared.related import related_lists
from scoring.lists.shared.rows import SharedList

_PLAY = (
    columns.USER_ID,
    columns.VIDEO_ID,
    columns.EVENT_TIMESTAMP,
    columns.WATCH_RATIO,
    columns.VIDEO_DURATION,
)


def shared_lists(
    video_id: np.ndarray,
    as_of: datetime,
    settings: RankerNeeds,
    buckets: LengthBuckets,
    *,
    profiles_at: datetime | None = None,
    plays: pl.DataFrame | None = None,
) -> tuple[SharedList, ...]:
    """The kinds of shared lists that the settings ask for, as of an instant; none by default.

    Args:
        video_id: int64, ascending, the eligible videos.
        profiles_at: use the user file, which has no event time, that had arrived by then; by default as_of.
        plays: the log, if it is in memory already.
    """
    found = []
    if settings.lists.shared.related_k:
        log = scan_days(settings.paths.interactions) if plays is None else plays.lazy()
        found.append(related_lists(video_id, log, as_of, settings.lists.shared.related_k, settings))
    if settings.lists.shared.popular_k:
        users = users_by_segment(settings.paths, settings.lists, profiles_at or as_of)
        batches = play_batches(settings.paths, plays)(_PLAY)
        found.append(popular_lists(video_id, batches, users, as_of, settings, buckets=buckets))
    return tuple(found)
