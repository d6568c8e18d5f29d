"""Features of frames of stored values and instants, as Feast's on-demand views hand them over."""

import numpy as np
import pandas as pd

from nightreel.core import columns
from nightreel.core.catalogue.formulas import (
    GROUP_PRIOR_PLAYS,
    VIDEO_PRIOR_PLAYS,
    days_between,
    shrunk_share,
)


def trend_of_videos(inputs: pd.DataFrame) -> pd.DataFrame:
    """The features of `video_trend`, from those of its sources; null if a video was not known yet."""
    usual = _numbers(inputs, columns.VIDEO_AGG_LIKED_SHARE)
    liked = {days: _numbers(inputs, f"video_liked_{days}d") for days in columns.RECENT_DAYS}
    found = {
        f"video_liked_share_{days}d": shrunk_share(
            liked[days], _numbers(inputs, f"video_plays_{days}d"), usual, VIDEO_PRIOR_PLAYS
        )
        for days in columns.RECENT_DAYS
    }
    last, week = columns.RECENT_DAYS[0], columns.RECENT_DAYS[-1]
    found["video_liked_trend"] = np.log((liked[last] + 1.0) / (liked[week] * last / week + 1.0))
    found["days_since_upload"] = _days_since(inputs, columns.UPLOAD_DATE)
    found["days_since_first_play"] = _days_since(inputs, "video_first_play")
    return pd.DataFrame(found, index=inputs.index, dtype=np.float32)


def taste_of_group(inputs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The features of the on-demand view that belongs to the pair view `name`."""
    share = shrunk_share(
        _numbers(inputs, f"{name}_liked"),
        _numbers(inputs, f"{name}_plays"),
        _numbers(inputs, columns.USER_AGG_LIKED_SHARE),
        GROUP_PRIOR_PLAYS,
    )
    found = {f"{name}_liked_share": share, f"{name}_days_since": _days_since(inputs, f"{name}_last_play")}
    return pd.DataFrame(found, index=inputs.index, dtype=np.float32)


def lift_of_category(inputs: pd.DataFrame) -> pd.DataFrame:
    """The feature of `category_lift`; null where the user has no plays yet, or the video no category."""
    found = np.full(len(inputs), np.nan, dtype=np.float32)
    names = (columns.USER_CATEGORY_IDS, columns.USER_CATEGORY_LIFTS, columns.CATEGORY_LEVELS[0])
    for row, (ids, lifts, category) in enumerate(zip(*(inputs[name] for name in names), strict=True)):
        if ids is not None and not pd.isna(category):
            at = np.flatnonzero(np.asarray(ids) == category)
            found[row] = np.asarray(lifts)[at[0]] if len(at) else 0.0
    return pd.DataFrame({columns.CATEGORY_LIFT: found}, index=inputs.index)


def _numbers(inputs: pd.DataFrame, name: str) -> np.ndarray:
    found: np.ndarray = pd.to_numeric(inputs[name]).to_numpy(np.float64, na_value=np.nan)
    return found


def _days_since(inputs: pd.DataFrame, name: str) -> np.ndarray:
    earlier, later = (_microseconds(inputs[one]) for one in (name, columns.INTERACTION_TIMESTAMP))
    found: np.ndarray = days_between(earlier, later)
    return found


def _microseconds(instants: "pd.Series[pd.Timestamp]") -> np.ndarray:
    """Since 1970 UTC: float64, NaN where there is none."""
    utc = pd.to_datetime(instants, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(utc), np.nan, utc.astype(np.int64))
