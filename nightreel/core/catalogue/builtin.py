"""The features that nightreel has: an entry each. Names are public, and so is the order of those ranked."""

from collections.abc import Iterable
from typing import Final

from nightreel.core import columns
from nightreel.core.catalogue import recent_and_pairs
from nightreel.core.catalogue.entries import Feature, Kind, Type, View
from nightreel.core.catalogue.formulas import LENGTH_EDGES_MS

_LIKED = "plays with watch_ratio above like_threshold; smoothed with 20 plays at the overall mean"
_SHARE = "Share of plays with watch_ratio above like_threshold, shrunk to the mean of all plays."
_RATIO = "Mean clipped watch_ratio, shrunk to the mean of all plays."


def _features(
    names: Iterable[str], entity: str, type_: Type, kind: Kind, description: str, *, how: str
) -> tuple[Feature, ...]:
    """Features that differ only in their name.

    Args:
        description: with {} for the name.
    """
    return tuple(
        Feature(name, entity, description.format(name), type=type_, kind=kind, how=how) for name in names
    )


def _received(entity: str, names: tuple[str, str, str]) -> tuple[Feature, ...]:
    """How plays were received: names of the liked share, the mean ratio and the mean duration."""
    share, ratio, duration = names
    return (
        Feature(share, entity, _SHARE, how=_LIKED),
        Feature(ratio, entity, _RATIO, how="the mean of plays so far, smoothed in the same way"),
        Feature(duration, entity, "Mean play duration, ms.", how="the mean of plays so far"),
    )


def _counts(entity: str, plays: str, distinct: str, what: str) -> tuple[Feature, ...]:
    how = "a running count by local day"
    return (
        Feature(plays, entity, "Plays so far.", type="int32", how=how),
        Feature(distinct, entity, what, type="int32", how=how),
    )


_USER_FILE = "the user file, always known; changes from their arrival on"
_CAPTION_FILE = "the caption file, always known; changes from their arrival on"
_RECORD = "the video's newest daily record by the end of its day"

_DESCRIBED: tuple[tuple[str, Type, str], ...] = (
    (columns.VIDEO_TYPE, "string", "NORMAL or AD."),
    (columns.UPLOAD_DATE, "timestamp", "Local midnight of the upload day."),
    (columns.UPLOAD_TYPE, "string", "How it was uploaded."),
    (columns.VISIBLE_STATUS, "string", "`public`, or who else may see it."),
)

USER_PROFILE: Final = View(
    columns.USER_PROFILE,
    ("user",),
    "Who a user is, from the user file: activity degree, ranges and encoded attributes.",
    (
        *_features(
            columns.USER_CATEGORICALS,
            "user",
            "string",
            "categorical",
            "{} of the user file, UNKNOWN included.",
            how=_USER_FILE,
        ),
        *_features(
            columns.ONEHOT_FEATURES,
            "user",
            "int32",
            "categorical",
            "{}: the code of an encrypted attribute, a category.",
            how=_USER_FILE,
        ),
    ),
    "profile",
    "The user file, always known.",
)
USER_ACTIVITY: Final = View(
    columns.USER_ACTIVITY,
    ("user",),
    "What a user had played, and how well they had received it, by the end of their last day with a play.",
    (
        *_counts(
            "user",
            columns.USER_AGG_INTERACTIONS,
            columns.USER_AGG_UNIQUE_VIDEOS,
            "Distinct videos played so far.",
        ),
        *_received(
            "user",
            (columns.USER_AGG_LIKED_SHARE, columns.USER_AGG_WATCH_RATIO, columns.USER_AGG_PLAY_DURATION),
        ),
    ),
    "activity",
    "What each user had played by the end of each day of theirs.",
)
VIDEO_PROFILE: Final = View(
    columns.VIDEO_PROFILE,
    ("video",),
    "What a video is: categories, author, type, upload, visibility and length, as known at the time.",
    (
        *_features(
            columns.CATEGORY_LEVELS,
            "video",
            "int32",
            "categorical",
            "{} of the caption file.",
            how=_CAPTION_FILE,
        ),
        Feature(
            columns.AUTHOR_ID, "video", "Who uploaded it.", type="int64", kind="categorical", how=_RECORD
        ),
        *(
            Feature(name, "video", meaning, type=type_, kind="description", how=_RECORD, ranked=False)
            for name, type_, meaning in _DESCRIBED
        ),
        Feature(
            columns.VIDEO_TAG,
            "video",
            "Its tag.",
            type="int64",
            kind="categorical",
            how=_RECORD,
            ranked=False,
        ),
        Feature(
            columns.VIDEO_LENGTH,
            "video",
            "The range of its length, from 0, the shortest.",
            type="int32",
            kind="categorical",
            how=f"video_duration from {', '.join(str(ms // 1_000) for ms in LENGTH_EDGES_MS)} s on",
            ranked=False,
        ),
        Feature(
            columns.VIDEO_DURATION,
            "video",
            "Length, ms.",
            type="int32",
            how=f"{_RECORD}, else the day's last play",
        ),
    ),
    "profile",
    "Categories, always known; the rest from the end of the day that brought it.",
)
VIDEO_TEXT: Final = View(
    columns.VIDEO_TEXT,
    ("video",),
    "Cover text, caption and tags: TF-IDF with a vocabulary of videos known at the cutoff, reduced by SVD.",
    _features(
        columns.TEXT_FEATURES,
        "video",
        "float32",
        "numeric",
        "{}: a dimension of the reduced TF-IDF.",
        how="TF-IDF of the text of videos known at the first ALS refit, reduced by truncated SVD",
    ),
    "text",
    "Reduced TF-IDF of each video's text, from the first ALS refit on.",
)
VIDEO_DAILY_POPULARITY: Final = View(
    columns.VIDEO_DAILY_POPULARITY,
    ("video",),
    "Daily counts of a video on the whole platform: running means and the last day that has ended.",
    (
        *_features(
            columns.AVERAGE_DAILY_COUNTS,
            "video",
            "float32",
            "numeric",
            "{}: mean over the video's days so far.",
            how="the running mean of the daily records",
        ),
        *_features(
            columns.LAST_DAY_COUNTS,
            "video",
            "float32",
            "numeric",
            "{}: the count of its last day that has ended.",
            how="the newest daily record",
        ),
    ),
    "popularity",
    "Daily counts of each video, from the end of their day on.",
)
VIDEO_ENGAGEMENT: Final = View(
    columns.VIDEO_ENGAGEMENT,
    ("video",),
    "How a video had been received by the end of its last day with a play.",
    (
        *_counts("video", columns.VIDEO_AGG_VIEWS, columns.VIDEO_AGG_UNIQUE_USERS, "Distinct users so far."),
        *_received(
            "video",
            (columns.VIDEO_AGG_LIKED_SHARE, columns.VIDEO_AGG_WATCH_RATIO, columns.VIDEO_AGG_PLAY_DURATION),
        ),
    ),
    "popularity",
    "How each video had been received by the end of each day with plays.",
)
INTERACTION_TIME: Final = View(
    columns.INTERACTION_TIME_VIEW,
    (),
    "Hour (0..23) and weekday (0 is Monday) of a play, in the business zone.",
    (
        Feature(
            columns.HOUR_OF_DAY,
            "request",
            "Hour of the instant, 0..23.",
            type="int64",
            how="interaction_timestamp in the business zone",
        ),
        Feature(
            columns.DAY_OF_WEEK,
            "request",
            "Weekday of the instant, 0 is Monday.",
            type="int64",
            how="interaction_timestamp in the business zone",
        ),
    ),
    "time",
)
ALS_SCORE: Final = View(
    columns.ALS_SCORE_VIEW,
    ("user", "video"),
    "How well a video fits a user: the dot product of their factors, null if one has none.",
    (
        Feature(
            columns.ALS_SCORE,
            "user+video",
            "How well a video fits a user.",
            how="dot product of user_factor and video_factor",
        ),
    ),
    "collaborative",
)


def _factors(view: str, feature: str, entity: str) -> View:
    return View(
        view,
        (entity,),
        f"ALS factors of a {entity}, from plays strictly before the refit's cutoff.",
        (
            Feature(
                feature,
                entity,
                "[features.als] factors numbers.",
                type="floats",
                kind="embedding",
                how="ALS on growing windows, refitted every [features.als] refit_days",
                ranked=False,
            ),
        ),
        "collaborative",
        f"ALS factors of {entity}s, from the cutoff of each refit on.",
    )


USER_FACTORS: Final = _factors(columns.USER_FACTORS, columns.USER_FACTOR, "user")
VIDEO_FACTORS: Final = _factors(columns.VIDEO_FACTORS, columns.VIDEO_FACTOR, "video")

VIEWS: Final = (
    USER_PROFILE,
    USER_ACTIVITY,
    VIDEO_PROFILE,
    VIDEO_TEXT,
    VIDEO_DAILY_POPULARITY,
    VIDEO_ENGAGEMENT,
    INTERACTION_TIME,
    ALS_SCORE,
    USER_FACTORS,
    VIDEO_FACTORS,
    *recent_and_pairs.VIEWS,
)
