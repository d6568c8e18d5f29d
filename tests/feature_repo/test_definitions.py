"""What is registered: every view of the design, with meaning, owner, tags and types; the service's order."""

from collections.abc import Iterator

import pytest
from feast import FeatureStore
from feast.types import Array, Float32, Int32, Int64, String, UnixTimestamp

from feature_repo.open_store import store as open_store
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

# Public names, so spelled out here: a renamed column breaks its readers.
USER_PROFILE = {
    "user_active_degree": String,
    "follow_user_num_range": String,
    "fans_user_num_range": String,
    "friend_user_num_range": String,
    "register_days_range": String,
    **{f"onehot_feat{i}": Int32 for i in range(18)},
}
AVERAGES = {f"avg_daily_{n}_cnt": Float32 for n in ("show", "play", "like", "comment", "share", "collect")}
YESTERDAY = {f"last_day_{n}_cnt": Float32 for n in ("show", "play", "like", "comment", "share", "collect")}
USER_ACTIVITY = {
    "user_agg_interactions": Int32,
    "user_agg_unique_videos": Int32,
    "user_agg_liked_share": Float32,
    "user_agg_watch_ratio": Float32,
    "user_agg_play_duration": Float32,
}
VIDEO_ENGAGEMENT = {
    "video_agg_views": Int32,
    "video_agg_unique_users": Int32,
    "video_agg_liked_share": Float32,
    "video_agg_watch_ratio": Float32,
    "video_agg_play_duration": Float32,
}
CATEGORIES = {f"{level}_level_category_id": Int32 for level in ("first", "second", "third")}
TEXT = {f"tfidf_{i}": Float32 for i in range(50)}
SCHEMAS = {
    "user_profile": USER_PROFILE,
    "user_activity": USER_ACTIVITY,
    "video_profile": {
        **CATEGORIES,
        "author_id": Int64,
        "video_type": String,
        "upload_dt": UnixTimestamp,
        "upload_type": String,
        "visible_status": String,
        "video_tag_id": Int64,
        "video_length": Int32,
        "video_duration": Int32,
    },
    "video_text": TEXT,
    "video_daily_popularity": {**AVERAGES, **YESTERDAY},
    "video_engagement": VIDEO_ENGAGEMENT,
    "user_factors": {"user_factor": Array(Float32)},
    "video_factors": {"video_factor": Array(Float32)},
    "video_recent": {
        **{f"video_plays_{days}d": Int32 for days in (1, 3, 7)},
        **{f"video_liked_{days}d": Int32 for days in (1, 3, 7)},
        "video_first_play": UnixTimestamp,
    },
    "video_shows": {f"video_shows_{days}d": Int64 for days in (1, 3, 7)},
    "user_categories": {"user_category_ids": Array(Int32), "user_category_lifts": Array(Float32)},
}
GROUPS = ("author", "first_level_category", "second_level_category", "third_level_category", "tag", "length")
SCHEMAS |= {
    f"user_{group}": {
        f"user_{group}_plays": Int32,
        f"user_{group}_liked": Int32,
        f"user_{group}_last_play": UnixTimestamp,
    }
    for group in GROUPS
}
ON_DEMAND = {
    "als_score": {"als_score": Float32},
    "interaction_time": {"hour_of_day": Int64, "day_of_week": Int64},
    "category_lift": {"category_lift": Float32},
    "video_trend": {
        **{f"video_liked_share_{days}d": Float32 for days in (1, 3, 7)},
        "video_liked_trend": Float32,
        "days_since_upload": Float32,
        "days_since_first_play": Float32,
    },
    **{
        f"user_{group}_taste": {
            f"user_{group}_liked_share": Float32,
            f"user_{group}_days_since": Float32,
        }
        for group in GROUPS
    },
}


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    with pytest.MonkeyPatch.context() as patch:
        make_feature_home(tmp_path_factory.mktemp("definitions") / "home", make_log(1), patch)
        yield open_store()


def test_every_view_is_there_with_its_types(registered: FeatureStore) -> None:
    found = {view.name: {f.name: f.dtype for f in view.features} for view in registered.list_feature_views()}
    assert found == SCHEMAS
    on_demand = registered.list_on_demand_feature_views()
    assert {view.name: {f.name: f.dtype for f in view.features} for view in on_demand} == ON_DEMAND


def test_every_view_is_of_users_or_of_videos_and_served_online_or_of_both(registered: FeatureStore) -> None:
    """Those of users and groups of videos are not served online: they have too many keys."""
    for view in registered.list_feature_views():
        key = "user" if view.name.startswith("user") else "video"
        group = view.name.removeprefix("user_")
        groups = [group] if group in GROUPS else []
        assert view.entities == [key, *groups] and view.join_keys == [f"{key}_id", *groups], view.name
        keys = [(name, Int64) for name in (f"{key}_id", *groups)]
        assert [(c.name, c.dtype) for c in view.entity_columns] == keys, view.name
        assert view.online == (not groups) and view.ttl.days == 36_500, view.name


def test_everything_says_what_it_is_and_whose(registered: FeatureStore) -> None:
    views = [*registered.list_feature_views(), *registered.list_on_demand_feature_views()]
    services = registered.list_feature_services()
    for thing in (*views, *services):
        assert thing.description and thing.owner == "nightreel" and thing.tags, thing.name
    for entity in registered.list_entities():
        assert entity.description and entity.owner == "nightreel", entity.name
    for source in registered.list_data_sources():
        assert source.description and source.owner == "nightreel", source.name
    for view in registered.list_feature_views():
        for feature in view.features:
            assert feature.description, (view.name, feature.name)


def test_the_service_names_what_the_rankers_read_in_order(registered: FeatureStore) -> None:
    service = registered.get_feature_service("hybrid_ranker")
    found = [feature.name for view in service.feature_view_projections for feature in view.features]
    assert found == [
        *USER_PROFILE,
        *USER_ACTIVITY,
        *CATEGORIES,
        "author_id",
        "video_duration",
        *TEXT,
        *AVERAGES,
        *YESTERDAY,
        *VIDEO_ENGAGEMENT,
        "hour_of_day",
        "day_of_week",
        "als_score",
        "category_lift",
    ]
