"""The feature views: the features of users and videos, each with its type and what it means."""

from datetime import timedelta

from feast import Entity, FeatureView, Field
from feast.types import Array, Float32, Int32, Int64, PrimitiveFeastType, String, UnixTimestamp

from feature_repo.entities import OWNER, user, video
from feature_repo.sources import SOURCES
from nightreel import columns

# No value goes stale. Feast's ttl of zero says the same, but there `feast materialize-incremental` looks back
# a single year from today, which leaves out older logs and all that is always known.
FOR_EVER = timedelta(days=36_500)


def _view(name: str, entity: Entity, description: str, fields: list[Field], group: str) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=FOR_EVER,
        schema=[Field(name=entity.join_key, dtype=Int64), *fields],
        source=SOURCES[name],
        online=True,
        description=description,
        owner=OWNER,
        tags={"group": group},
    )


def _fields(names: tuple[str, ...], dtype: PrimitiveFeastType, description: str) -> list[Field]:
    return [Field(name=name, dtype=dtype, description=description.format(name)) for name in names]


user_profile = _view(
    columns.USER_PROFILE,
    user,
    "Who a user is, from the user file: activity degree, ranges and encoded attributes.",
    [
        *_fields(columns.USER_CATEGORICALS, String, "{} of the user file, UNKNOWN included."),
        *_fields(columns.ONEHOT_FEATURES, Int32, "{}: the code of an encrypted attribute, a category."),
    ],
    "profile",
)

user_activity = _view(
    columns.USER_ACTIVITY,
    user,
    "What a user had played, and how well they had received it, by the end of their last day with a play.",
    [
        Field(name=columns.USER_AGG_INTERACTIONS, dtype=Int32, description="Plays so far."),
        Field(name=columns.USER_AGG_UNIQUE_VIDEOS, dtype=Int32, description="Distinct videos played so far."),
        Field(
            name=columns.USER_AGG_LIKED_SHARE,
            dtype=Float32,
            description="Share of plays with watch_ratio above like_threshold, smoothed to the usual.",
        ),
        Field(
            name=columns.USER_AGG_WATCH_RATIO,
            dtype=Float32,
            description="Mean clipped watch_ratio, smoothed to the usual.",
        ),
        Field(name=columns.USER_AGG_PLAY_DURATION, dtype=Float32, description="Mean play duration, ms."),
    ],
    "activity",
)

video_profile = _view(
    columns.VIDEO_PROFILE,
    video,
    "What a video is: categories, author, type, upload, visibility and length, as known at the time.",
    [
        *_fields(columns.CATEGORY_LEVELS, Int32, "{} of the caption file."),
        Field(name=columns.AUTHOR_ID, dtype=Int64, description="Who uploaded it."),
        Field(name=columns.VIDEO_TYPE, dtype=String, description="NORMAL or AD."),
        Field(name=columns.UPLOAD_DATE, dtype=UnixTimestamp, description="Local midnight of the upload day."),
        Field(name=columns.UPLOAD_TYPE, dtype=String, description="How it was uploaded."),
        Field(name=columns.VISIBLE_STATUS, dtype=String, description="`public`, or who else may see it."),
        Field(name=columns.VIDEO_DURATION, dtype=Int32, description="Length, ms."),
    ],
    "profile",
)

video_text = _view(
    columns.VIDEO_TEXT,
    video,
    "Cover text, caption and tags: TF-IDF with a vocabulary of videos known at the cutoff, reduced by SVD.",
    _fields(columns.TEXT_FEATURES, Float32, "{}: a dimension of the reduced TF-IDF."),
    "text",
)

video_daily_popularity = _view(
    columns.VIDEO_DAILY_POPULARITY,
    video,
    "Daily counts of a video on the whole platform: running means and the last day that has ended.",
    [
        *_fields(columns.AVERAGE_DAILY_COUNTS, Float32, "{}: mean over the video's days so far."),
        *_fields(columns.LAST_DAY_COUNTS, Float32, "{}: the count of its last day that has ended."),
    ],
    "popularity",
)

video_engagement = _view(
    columns.VIDEO_ENGAGEMENT,
    video,
    "How a video had been received by the end of its last day with a play.",
    [
        Field(name=columns.VIDEO_AGG_VIEWS, dtype=Int32, description="Plays so far."),
        Field(name=columns.VIDEO_AGG_UNIQUE_USERS, dtype=Int32, description="Distinct users so far."),
        Field(
            name=columns.VIDEO_AGG_LIKED_SHARE,
            dtype=Float32,
            description="Share of plays with watch_ratio above like_threshold, smoothed to the usual.",
        ),
        Field(
            name=columns.VIDEO_AGG_WATCH_RATIO,
            dtype=Float32,
            description="Mean clipped watch_ratio, smoothed to the usual.",
        ),
        Field(name=columns.VIDEO_AGG_PLAY_DURATION, dtype=Float32, description="Mean play duration, ms."),
    ],
    "popularity",
)

user_factors = _view(
    columns.USER_FACTORS,
    user,
    "ALS factors of a user, from plays strictly before the refit's cutoff.",
    [Field(name=columns.USER_FACTOR, dtype=Array(Float32), description="als_factors numbers.")],
    "collaborative",
)

video_factors = _view(
    columns.VIDEO_FACTORS,
    video,
    "ALS factors of a video, from plays strictly before the refit's cutoff.",
    [Field(name=columns.VIDEO_FACTOR, dtype=Array(Float32), description="als_factors numbers.")],
    "collaborative",
)

VIEWS = (
    user_profile,
    user_activity,
    video_profile,
    video_text,
    video_daily_popularity,
    video_engagement,
    user_factors,
    video_factors,
)
