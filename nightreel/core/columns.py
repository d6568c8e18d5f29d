"""The name of every table column, file and feature view, spelled once. Nothing here but names."""

from typing import Final

# Keys and time, the same in every table.
USER_ID: Final = "user_id"
VIDEO_ID: Final = "video_id"
EVENT_TIMESTAMP: Final = "event_timestamp"  # timestamp[us, UTC]: when the row's values were known
CREATED_TIMESTAMP: Final = "created_timestamp"  # the same: when the delivery arrived that brought the row
LOCAL_DATE: Final = "date"  # date32, a day in the business time zone

# Interactions (tables/interactions.parquet, tables/fully_observed.parquet).
PLAY_DURATION: Final = "play_duration"  # ms
VIDEO_DURATION: Final = "video_duration"  # ms
WATCH_RATIO: Final = "watch_ratio"  # play_duration / video_duration

# Raw files, in KuaiRec's names.
BIG_MATRIX_FILE: Final = "big_matrix.csv"
SMALL_MATRIX_FILE: Final = "small_matrix.csv"
USER_FEATURES_FILE: Final = "user_features.csv"
ITEM_DAILY_FILE: Final = "item_daily_features.csv"
CAPTION_FILE: Final = "kuairec_caption_category.csv"
ITEM_CATEGORIES_FILE: Final = "item_categories.csv"
SOCIAL_NETWORK_FILE: Final = "social_network.csv"
EXPOSURES_FILE: Final = "exposures.csv"  # ours: what an app displayed

# The file of friends.
FRIENDS: Final = "friend_list"

# What an app displayed: where in its page, and the run that it had read.
POSITION: Final = "position"
RUN: Final = "run"

# The user file.
ONEHOT_FEATURES: Final = tuple(f"onehot_feat{i}" for i in range(18))
USER_CATEGORICALS: Final = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)

# The video files.
AUTHOR_ID: Final = "author_id"
VIDEO_TYPE: Final = "video_type"
UPLOAD_DATE: Final = "upload_dt"
UPLOAD_TYPE: Final = "upload_type"
VISIBLE_STATUS: Final = "visible_status"
CAPTION: Final = "caption"
MANUAL_COVER_TEXT: Final = "manual_cover_text"
TOPIC_TAGS: Final = "topic_tag"
CATEGORY_LEVELS: Final = (
    "first_level_category_id",
    "second_level_category_id",
    "third_level_category_id",
)
CATEGORY_NAMES: Final = (
    "first_level_category_name",
    "second_level_category_name",
    "third_level_category_name",
)
CATEGORY_TAGS: Final = "feat"
MUSIC_ID: Final = "music_id"
VIDEO_TAG: Final = "video_tag_id"
VIDEO_LENGTH: Final = "video_length"  # the number of a range of lengths

# Daily counts of which `video_daily_popularity` keeps a running mean and yesterday's value.
DAILY_COUNTS: Final = ("show_cnt", "play_cnt", "like_cnt", "comment_cnt", "share_cnt", "collect_cnt")
AVERAGE_DAILY_COUNTS: Final = tuple(f"avg_daily_{count}" for count in DAILY_COUNTS)
LAST_DAY_COUNTS: Final = tuple(f"last_day_{count}" for count in DAILY_COUNTS)

# Aggregates.
USER_AGG_INTERACTIONS: Final = "user_agg_interactions"
USER_AGG_UNIQUE_VIDEOS: Final = "user_agg_unique_videos"
USER_AGG_LIKED_SHARE: Final = "user_agg_liked_share"
USER_AGG_WATCH_RATIO: Final = "user_agg_watch_ratio"
USER_AGG_PLAY_DURATION: Final = "user_agg_play_duration"  # ms, mean so far
VIDEO_AGG_VIEWS: Final = "video_agg_views"
VIDEO_AGG_UNIQUE_USERS: Final = "video_agg_unique_users"
VIDEO_AGG_LIKED_SHARE: Final = "video_agg_liked_share"
VIDEO_AGG_WATCH_RATIO: Final = "video_agg_watch_ratio"
VIDEO_AGG_PLAY_DURATION: Final = "video_agg_play_duration"  # ms, mean so far

# Plays and records of the last days.
RECENT_DAYS: Final = (1, 3, 7)

# Text and factors.
TEXT_DIMENSIONS: Final = 50
USER_TEXT_FEATURES: Final = tuple(f"user_text_{i}" for i in range(16))
TEXT_FEATURES: Final = tuple(f"tfidf_{i}" for i in range(TEXT_DIMENSIONS))
USER_FACTOR: Final = "user_factor"  # list<float32>, [features.als] factors long
VIDEO_FACTOR: Final = "video_factor"  # list<float32>, [features.als] factors long
ALS_SCORE: Final = "als_score"

# Likes by category.
USER_CATEGORY_IDS: Final = "user_category_ids"  # list<int32>, first-level categories
USER_CATEGORY_LIFTS: Final = "user_category_lifts"  # list<float32>, one for each of them
CATEGORY_LIFT: Final = "category_lift"

# Request-time features.
INTERACTION_TIMESTAMP: Final = "interaction_timestamp"  # request column: the instant being scored, UTC
HOUR_OF_DAY: Final = "hour_of_day"
DAY_OF_WEEK: Final = "day_of_week"  # 0 is Monday

# Feature views and the service: public names.
USER_PROFILE: Final = "user_profile"
USER_ACTIVITY: Final = "user_activity"
VIDEO_PROFILE: Final = "video_profile"
VIDEO_TEXT: Final = "video_text"
USER_TEXT: Final = "declared_user_text"
VIDEO_DAILY_POPULARITY: Final = "video_daily_popularity"
VIDEO_ENGAGEMENT: Final = "video_engagement"
VIDEO_RECENT: Final = "video_recent"
VIDEO_SHOWS: Final = "video_shows"
VIDEO_TREND_VIEW: Final = "video_trend"
USER_CATEGORIES: Final = "user_categories"
CATEGORY_LIFT_VIEW: Final = "category_lift"
USER_FACTORS: Final = "user_factors"
VIDEO_FACTORS: Final = "video_factors"
ALS_SCORE_VIEW: Final = "als_score"
INTERACTION_TIME_VIEW: Final = "interaction_time"
HYBRID_RANKER: Final = "hybrid_ranker"

# The published tables.
RECOMMENDATION_RUN: Final = "recommendation_run"
RECOMMENDATION: Final = "recommendation"
LATEST_RECOMMENDATION: Final = "latest_recommendation"
RELATED: Final = "related_recommendation"
LATEST_RELATED: Final = "latest_related"
POPULAR: Final = "popular_recommendation"
LATEST_POPULAR: Final = "latest_popular"
RUN_ID: Final = "run_id"
RANK: Final = "rank"
SCORE: Final = "score"
CLASSIFIER_SCORE: Final = "classifier_score"
REGRESSOR_SCORE: Final = "regressor_score"
SOURCE: Final = "source"
CANDIDATE_SOURCES: Final = "candidate_sources"
RULE: Final = "rule"  # what moved the row from where the model had it
PROPENSITY: Final = "propensity"  # how probable the row was where its list is drawn
ARM: Final = "arm"  # of an experiment
RELATED_VIDEO_ID: Final = "related_video_id"
SEGMENT: Final = "segment"
VALUE: Final = "value"
OVERALL: Final = "overall"  # the segment that every visitor is in
FEATURE: Final = "feature"
