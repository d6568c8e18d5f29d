"""What `feast apply` registers: every object of the package, and none of them twice."""

import warnings

from feature_repo.entities import nightreel, user, video
from feature_repo.on_demand import als_score, interaction_request, interaction_time
from feature_repo.services import hybrid_ranker
from feature_repo.views import (
    user_activity,
    user_factors,
    user_profile,
    video_daily_popularity,
    video_engagement,
    video_factors,
    video_profile,
    video_text,
)

__all__ = [
    "als_score",
    "hybrid_ranker",
    "interaction_request",
    "interaction_time",
    "nightreel",
    "user",
    "user_activity",
    "user_factors",
    "user_profile",
    "video",
    "video_daily_popularity",
    "video_engagement",
    "video_factors",
    "video_profile",
    "video_text",
]

# Feast warns at every `apply` that on-demand views are slow offline; ours are two, and known to be.
warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
