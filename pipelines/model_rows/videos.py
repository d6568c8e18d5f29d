"""Facts about each video at a night's cutoff: recent shows and likes, age, and reception."""

import numpy as np

from nightreel.core import columns
from nightreel.core.catalogue.formulas import VIDEO_PRIOR_PLAYS, days_between, shrunk_share
from nightreel.core.catalogue.night import OF_VIDEO_IN_FEAST, WINDOWS_DAYS
from nightreel.core.compiled import compiled
from nightreel.core.instants import DAY_US
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import Catalogue

_USUAL_RATIO = 0.5


def video_features(
    past: Past, catalogue: Catalogue, joined: JoinedFeatures, listable: np.ndarray
) -> dict[str, np.ndarray]:
    """Features of the videos at the cutoff of the past, by name.

    Counts are logarithms relative to the mean video, so that they have the same meaning on every night of a
    growing log.

    Args:
        listable: int64, the position in the catalogue of each video of `joined`.

    Returns:
        float32 [videos of the catalogue].
    """
    videos = len(past.video_id)
    prior_share = float(past.liked.mean()) if len(past) else 0.3
    found: dict[str, np.ndarray] = {}
    for window, days in WINDOWS_DAYS.items():
        # Plays are in order of time: the recent ones are a slice, not a copy.
        since_us = past.cutoff_us - (days or 0) * DAY_US
        recent = slice(0 if days is None else int(np.searchsorted(past.at_us, since_us)), None)
        counts, amount = np.zeros((2, videos), dtype=np.int64), np.zeros(videos)
        _add_plays(past.video[recent], past.liked[recent], past.amount[recent], counts, amount)
        shown, liked = counts
        found[f"shown_{window}"] = _relative(catalogue.spread(shown), listable)
        found[f"liked_{window}"] = _relative(catalogue.spread(liked), listable)
        share = np.full(len(catalogue), prior_share, dtype=np.float32)
        share[catalogue.columns] = shrunk_share(liked, shown, prior_share, VIDEO_PRIOR_PLAYS)
        found[f"liked_share_{window}"] = share
        watched = np.full(len(catalogue), _USUAL_RATIO, dtype=np.float32)
        watched[catalogue.columns] = shrunk_share(amount, shown, _USUAL_RATIO, VIDEO_PRIOR_PLAYS)
        found[f"watched_{window}"] = watched
    found["liked_trend"] = found["liked_1d"] - found["liked_7d"]
    first, last = (np.full(len(catalogue), np.nan) for _ in range(2))
    _note_times(past.video, past.at_us, catalogue.columns, first, last)
    uploaded = np.where(catalogue.uploaded_us > 0, catalogue.uploaded_us, np.nan)
    for name, at_us in (("first_play", first), ("last_play", last), ("upload", uploaded)):
        found[f"days_since_{name}"] = days_between(at_us, past.cutoff_us)
    for name in OF_VIDEO_IN_FEAST:
        values = np.full(len(catalogue), np.nan, dtype=np.float32)
        values[listable] = joined.video_feature(name)
        found[name] = (
            _relative(np.nan_to_num(values), listable) if name in columns.LAST_DAY_COUNTS else values
        )
    return {name: values.astype(np.float32) for name, values in found.items()}


@compiled
def _add_plays(
    video: np.ndarray,
    liked: np.ndarray,
    amount: np.ndarray,
    counts: np.ndarray,
    amounts: np.ndarray,
) -> None:
    """Count each video's plays and likes, and add up their amounts; NumPy needs arrays as long as the log.

    Args:
        counts: int64 [2, videos], changed in place like `amounts`, float64 [videos].
    """
    for play in range(len(video)):
        counts[0, video[play]] += 1
        counts[1, video[play]] += liked[play]
        amounts[video[play]] += amount[play]


@compiled
def _note_times(
    video: np.ndarray, at_us: np.ndarray, column: np.ndarray, first: np.ndarray, last: np.ndarray
) -> None:
    """Write the times of each video's first and last play at its column, in place; plays are in order."""
    for play in range(len(video)):
        at = column[video[play]]
        if np.isnan(first[at]):
            first[at] = at_us[play]
        last[at] = at_us[play]


def _relative(counts: np.ndarray, listable: np.ndarray) -> np.ndarray:
    # Only of known videos, since the number of videos still to come would reveal the future.
    relative: np.ndarray = np.log((counts + 1.0) / (counts[listable].mean(dtype=np.float64) + 1.0))
    return relative
