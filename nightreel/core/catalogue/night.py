"""The features of a row of objective `next_day`, in order.

A row is a user, a video and the instant at which a night begins. `pipelines/model_rows` computes the values
from the user's plays before that instant and from Feast's features as of it, and returns exactly these
features.
"""

from collections.abc import Iterable
from typing import Final

from nightreel.core import columns
from nightreel.core.catalogue.builtin import VIEWS
from nightreel.core.catalogue.entries import GROUPS, Feature, View

NIGHT: Final = "night"
# How far back the counts of a video's plays go, in days; None: to the first.
WINDOWS_DAYS: Final = {**{f"{days}d": days for days in columns.RECENT_DAYS}, "all": None}
OF_VIDEO_IN_FEAST: Final = (
    columns.VIDEO_AGG_LIKED_SHARE,
    columns.VIDEO_AGG_WATCH_RATIO,
    columns.VIDEO_AGG_PLAY_DURATION,
    columns.VIDEO_DURATION,
    *columns.LAST_DAY_COUNTS,
)
OF_USER_IN_FEAST: Final = (
    columns.USER_AGG_LIKED_SHARE,
    columns.USER_AGG_WATCH_RATIO,
    columns.USER_AGG_PLAY_DURATION,
)
_PAIR = "user+video"
_RELATIVE = "log((plays + 1) / (mean over all videos + 1))"


def night_view(sources: Iterable[str]) -> View:
    """Every feature of a row except those of own modules, in order; `sources`: candidate sources."""
    return View(
        NIGHT,
        ("user", "video"),
        "What the rankers of objective `next_day` read of a user and a candidate as of a night's beginning.",
        (
            *(feature for name in sources for feature in _of_score(name, f"The candidate source {name}")),
            *_of_score(columns.ALS_SCORE, "als_score, 0 where it is unknown"),
            *(feature for group in GROUPS for feature in _of_group(group.name)),
            *_OF_REPEATS,
            *_of_video(),
            *_of_user(),
        ),
        NIGHT,
    )


def _of_score(name: str, what: str) -> tuple[Feature, ...]:
    return (
        Feature(
            name,
            _PAIR,
            f"{what}: how well the video fits the user.",
            how="(score - the user's mean over all videos) / the user's deviation",
        ),
        Feature(
            f"{name}_rank",
            _PAIR,
            f"{what}: the candidate's rank among the user's.",
            how="log(1 + rank), the best 0",
        ),
    )


def _of_group(group: str) -> tuple[Feature, ...]:
    entity = f"user+{group}"
    return (
        Feature(f"{group}_plays", entity, f"The user's plays of this {group}.", how="plays so far"),
        Feature(
            f"{group}_liked_share",
            entity,
            "The share of these that the user liked.",
            how="(likes + 5 * history_liked_share) / (plays + 5)",
        ),
        Feature(
            f"{group}_of_liked",
            entity,
            "These plays' share of the user's likes.",
            how="likes of these / (history_likes + 1)",
        ),
        Feature(
            f"{group}_days_since",
            entity,
            "Days since the last of these plays; null without one.",
            how="from the last play to the instant",
        ),
    )


_OF_REPEATS: Final = (
    Feature("video_played", _PAIR, "The user's plays of this video.", how="plays so far"),
    Feature(
        "days_since_video",
        _PAIR,
        "Days since the user's last play of this video; null without one.",
        how="from that play to the instant",
    ),
)


def _of_video() -> Iterable[Feature]:
    for window, days in WINDOWS_DAYS.items():
        of = "all days so far" if days is None else f"the last {days} day(s)"
        for name, what, how in (
            ("shown", "Plays of the video", _RELATIVE),
            ("liked", "Liked plays of the video", _RELATIVE.replace("plays", "likes")),
            ("liked_share", "Liked share of its plays", "(likes + 10 * usual share) / (plays + 10)"),
            ("watched", "Mean clipped watch_ratio", "(sum + 10 * 0.5) / (plays + 10)"),
        ):
            yield Feature(f"{name}_{window}", "video", f"{what}, {of}.", how=how)
    yield Feature("liked_trend", "video", "Whether likes grow.", how="liked_1d - liked_7d")
    for name, what in (
        ("first_play", "the video's first play"),
        ("last_play", "the video's last play"),
        ("upload", "its upload day began, or it was first known"),
    ):
        yield Feature(f"days_since_{name}", "video", f"Days since {what}.", how="until the night's beginning")
    counts = set(columns.LAST_DAY_COUNTS)
    yield from (
        _in_feast(name, "video", ", relative to the mean video" if name in counts else "")
        for name in OF_VIDEO_IN_FEAST
    )


def _of_user() -> Iterable[Feature]:
    for name, what, how in (
        ("history_plays", "The user's plays.", "plays so far"),
        ("history_likes", "Those that the user liked.", "likes so far"),
        ("history_liked_share", "The share of those.", "(likes + 3) / (plays + 10)"),
        ("days_since_play", "Days since the user's last play.", "from the last play to the instant"),
        ("history_watched", "The user's mean clipped watch_ratio.", "the mean of plays so far"),
    ):
        yield Feature(name, "user", what, how=how)
    yield from (_in_feast(name, "user") for name in OF_USER_IN_FEAST)


def _in_feast(name: str, entity: str, as_it_is: str = "") -> Feature:
    view, one = next((view, one) for view in VIEWS for one in view.features if one.name == name)
    return Feature(name, entity, one.description, how=f"`{view.name}` as of the night's beginning{as_it_is}")
