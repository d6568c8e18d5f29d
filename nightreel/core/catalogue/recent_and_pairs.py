"""A video's last days, and what a user has with groups of videos: most are made by expressions.

What depends on the instant that is asked for, such as the days since a play, is computed on demand.
"""

from typing import Final

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS, Entity, Feature, View

# Instants are of whole seconds: the online store keeps no parts of one.
_PLAYS, _LIKED = pl.len(), pl.col("liked").sum()


def _of_days(name: str, value: pl.Expr, description: str, table: str = "plays") -> tuple[Feature, ...]:
    """A feature for each of the RECENT_DAYS; name and description have {} for the number of days."""
    return tuple(
        Feature(
            name.format(days),
            "video",
            description.format(days),
            value=value,
            days=days,
            combine="sum",
            table="video_daily" if table == "video_daily" else "plays",
            type="int64" if table == "video_daily" else "int32",
            ranked=False,
        )
        for days in columns.RECENT_DAYS
    )


VIDEO_RECENT: Final = View(
    columns.VIDEO_RECENT,
    ("video",),
    "Plays of a video in the log in the last 1, 3 and 7 days, the liked ones, and when the first one was.",
    (
        *_of_days("video_plays_{}d", _PLAYS, "Plays of the last {} day(s)."),
        *_of_days("video_liked_{}d", _LIKED, "Plays of the last {} day(s) that were liked."),
        Feature(
            "video_first_play",
            "video",
            "When the first play was.",
            value=pl.col(columns.EVENT_TIMESTAMP).min().dt.truncate("1s"),
            combine="min",
            type="timestamp",
            kind="description",
            ranked=False,
        ),
    ),
    "popularity",
    "Counts of plays of the last days, from each day's end on which they change.",
)
VIDEO_SHOWS: Final = View(
    columns.VIDEO_SHOWS,
    ("video",),
    "How often a video was shown on the whole platform in the last 1, 3 and 7 days.",
    _of_days("video_shows_{}d", pl.col("show_cnt").sum(), "Shows of the last {} day(s).", "video_daily"),
    "popularity",
    "Shows of the last days, from each day's end on which they change.",
)
VIDEO_TREND: Final = View(
    columns.VIDEO_TREND_VIEW,
    ("video",),
    "Liked shares of the last days, whether likes grow, and a video's age, at the instant asked for.",
    (
        *(
            Feature(
                f"video_liked_share_{days}d",
                "video",
                f"Liked share of the plays of the last {days} day(s), shrunk to the video's own.",
                how=f"(video_liked_{days}d + 10 * video_agg_liked_share) / (video_plays_{days}d + 10)",
                ranked=False,
            )
            for days in columns.RECENT_DAYS
        ),
        Feature(
            "video_liked_trend",
            "video",
            "How much faster likes came yesterday than in the last 7 days; 0: as fast.",
            how="log((video_liked_1d + 1) / (video_liked_7d / 7 + 1))",
            ranked=False,
        ),
        Feature(
            "days_since_upload",
            "video",
            "Days since the upload day began.",
            how="from upload_dt",
            ranked=False,
        ),
        Feature(
            "days_since_first_play",
            "video",
            "Days since the first play.",
            how="from video_first_play",
            ranked=False,
        ),
    ),
    "popularity",
)


def pair_view(group: Entity) -> View:
    """Users' plays of a group of videos up to the end of each day on which they played any."""
    entity, name = f"user+{group.name}", f"user_{group.name}"
    return View(
        name,
        ("user", group.name),
        f"What a user had played of this {group.name} by the end of their last day with a play of it.",
        (
            Feature(
                f"{name}_plays", entity, "Plays so far.", _PLAYS, combine="sum", type="int32", ranked=False
            ),
            Feature(
                f"{name}_liked",
                entity,
                "Liked plays so far.",
                _LIKED,
                combine="sum",
                type="int32",
                ranked=False,
            ),
            Feature(
                f"{name}_last_play",
                entity,
                "When the last play was.",
                value=pl.col(columns.EVENT_TIMESTAMP).max().dt.truncate("1s"),
                combine="max",
                type="timestamp",
                kind="description",
                ranked=False,
            ),
        ),
        "pairs",
        f"A row a user, {group.name} and day with a play, from the end of that day on.",
    )


def taste_view(group: Entity) -> View:
    """On demand: how a user receives a group of videos, and how long ago they last played one."""
    entity, name = f"user+{group.name}", f"user_{group.name}"
    return View(
        f"{name}_taste",
        ("user", group.name),
        f"How a user receives this {group.name}, and how long ago they played a video of it.",
        (
            Feature(
                f"{name}_liked_share",
                entity,
                "Share of these plays that were liked, shrunk to the user's own share.",
                how=f"({name}_liked + 5 * user_agg_liked_share) / ({name}_plays + 5)",
                ranked=False,
            ),
            Feature(
                f"{name}_days_since",
                entity,
                "Days since the last of these plays.",
                how=f"from {name}_last_play to interaction_timestamp",
                ranked=False,
            ),
        ),
        "pairs",
    )


USER_CATEGORIES: Final = View(
    columns.USER_CATEGORIES,
    ("user",),
    "How a user had received each first-level category by the end of their last day with a play.",
    (
        Feature(
            columns.USER_CATEGORY_IDS,
            "user",
            "The first-level categories played so far, ascending.",
            type="ints",
            kind="description",
            how="of plays whose video's category was known",
            ranked=False,
        ),
        Feature(
            columns.USER_CATEGORY_LIFTS,
            "user",
            "How much more the user likes each of them than their plays on the whole.",
            type="floats",
            kind="embedding",
            how="(liked - plays * user_agg_liked_share) / (plays + 5), of the user's plays of it so far",
            ranked=False,
        ),
    ),
    "pairs",
    "What each user had played of each category by the end of each day of theirs.",
)
CATEGORY_LIFT: Final = View(
    columns.CATEGORY_LIFT_VIEW,
    ("user", "video"),
    "How much more a user likes the video's first-level category than their plays on the whole.",
    (
        Feature(
            columns.CATEGORY_LIFT,
            "user+video",
            "How much more the user likes the video's category than other videos; 0 before a play of it.",
            how="the entry of first_level_category_id in user_category_lifts",
        ),
    ),
    "pairs",
)


PAIR_VIEWS: Final = tuple(pair_view(group) for group in GROUPS)
TASTE_VIEWS: Final = tuple(taste_view(group) for group in GROUPS)
VIEWS: Final = (
    VIDEO_RECENT,
    VIDEO_SHOWS,
    USER_CATEGORIES,
    CATEGORY_LIFT,
    *PAIR_VIEWS,
    VIDEO_TREND,
    *TASTE_VIEWS,
)
