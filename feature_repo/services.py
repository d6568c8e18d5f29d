"""The feature service: exactly what the rankers read, in order."""

from feast import FeatureService

from feature_repo.entities import OWNER
from feature_repo.on_demand import als_score, interaction_time
from feature_repo.views import (
    user_activity,
    user_profile,
    video_daily_popularity,
    video_engagement,
    video_profile,
    video_text,
)
from nightreel import columns

hybrid_ranker = FeatureService(
    name=columns.HYBRID_RANKER,
    features=[
        user_profile,
        user_activity,
        video_profile[[*columns.CATEGORY_LEVELS, columns.AUTHOR_ID, columns.VIDEO_DURATION]],
        video_text,
        video_daily_popularity,
        video_engagement,
        interaction_time,
        als_score,
    ],
    description="Every feature that the classifier and the regressor read, in their order.",
    owner=OWNER,
    tags={"models": "classifier, regressor"},
)
