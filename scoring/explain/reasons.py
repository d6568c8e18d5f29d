"""Why a video is not in a list: the first stage that left it out."""

import numpy as np
import polars as pl

from nightreel.core import columns
from pipelines.rankers.filtering import filter_size
from scoring.explain.composed import NightOfUser
from scoring.explain.explanation import (
    BELOW_K,
    BLOCKED,
    CAPPED,
    FILTERED,
    MOVED,
    NO_CANDIDATE,
    NOT_LISTABLE,
    SEEN,
    UNKNOWN,
    Reason,
)
from scoring.lists.eligibility import described_videos, listing_rules

_RULES = {
    "not_public": "its last known visible_status is not public",
    "advertisements": "it is an advertisement",
    "max_age_days": "it was uploaded too long ago",
}


def reason_of(night: NightOfUser, video_id: int, video: int | None, *, moved: bool = False) -> Reason:
    """The reason why a video is not in the list.

    Args:
        video_id: the home's code.
        video: its index in the candidates, None if it is not one.
        moved: whether rules have moved rows of the list.
    """
    if video is None:
        return _not_listable(night, video_id)
    if not night.candidates.open_videos(night.user).holds(np.array([video]))[0] and night.trace is not None:
        return Reason(SEEN, "The user had played it ([lists.exclude] seen, seen_days).")
    at = None if night.trace is None else night.trace.candidate(video)
    position, k = night.position(video), night.run.k
    if night.trace is not None and at is None:
        return Reason(NO_CANDIDATE, "No candidate source named it, so the rankers did not score it.")
    if position is None:
        assert night.trace is not None and at is not None
        probability = night.trace.probability
        of_classifier = 1 + int((probability > probability[at]).sum())
        keep = filter_size(night.settings.ranker, night.settings.lists)
        return Reason(
            FILTERED,
            f"The classifier left it out: {of_classifier} of {len(probability)} candidates by its "
            f"probability, {probability[at]:.4f}; it keeps {keep} ([ranker] filter_k).",
        )
    if night.candidates.caps and position <= k:
        names = ", ".join(cap.setting for cap in night.candidates.caps)
        return Reason(CAPPED, f"It was ordered at position {position}, and {names} had no room for it.")
    if moved and position <= k:
        return Reason(
            MOVED,
            f"It was ordered at position {position}, and rules moved others before it or moved it down.",
        )
    return Reason(BELOW_K, f"It was ordered at position {position}; the list has {k} ([lists] top_k).")


def _not_listable(night: NightOfUser, video_id: int) -> Reason:
    described = described_videos(
        night.settings.paths, night.settings.data, night.store, night.run.as_of, night.profiles_at
    )
    of_video = described.filter(pl.col(columns.VIDEO_ID) == video_id)
    if of_video.is_empty():
        return Reason(
            UNKNOWN, f"No play and no daily count of it was known at {night.run.as_of.isoformat()}."
        )
    rules = listing_rules(night.settings.lists, night.run.as_of, night.blocklist)
    broken = [name for name, rule in rules.items() if of_video.filter(rule).is_empty()]
    if "blocklist" in broken:
        return Reason(BLOCKED, "It is in the table blocklist.")
    said = "; ".join(f"{_RULES[name]} ([lists.exclude] {name})" for name in broken)
    return Reason(NOT_LISTABLE, f"It may not be listed: {said}.")
