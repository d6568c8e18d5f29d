"""The on-demand views: what is computed when a pair, or an instant, is asked for."""

import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Int64, UnixTimestamp

from feature_repo.entities import OWNER
from feature_repo.views import user_factors, video_factors
from nightreel import columns

interaction_request = RequestSource(
    name="interaction_request",
    schema=[
        Field(
            name=columns.INTERACTION_TIMESTAMP,
            dtype=UnixTimestamp,
            description="The instant being scored; without a zone it counts as UTC.",
        )
    ],
    description="When the play happens.",
    owner=OWNER,
)


# Feast stores these two functions by their code, so each imports what it uses; and it refuses descriptions on
# the fields of on-demand views, so the view's own says what they are.
@on_demand_feature_view(  # type: ignore[untyped-decorator]
    name=columns.ALS_SCORE_VIEW,
    sources=[user_factors, video_factors],
    schema=[Field(name=columns.ALS_SCORE, dtype=Float32)],
    mode="pandas",
    description="How well a video fits a user: dot product of their factors, null where one has none.",
    owner=OWNER,
    tags={"group": "collaborative"},
)
def als_score(inputs: pd.DataFrame) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    scores = np.full(len(inputs), np.nan, dtype=np.float32)
    pairs = enumerate(zip(inputs["user_factor"], inputs["video_factor"], strict=True))
    for row, (user, video) in pairs:
        if user is not None and video is not None and np.size(user) == np.size(video) > 0:
            scores[row] = np.dot(np.asarray(user, dtype=np.float32), np.asarray(video, dtype=np.float32))
    return pd.DataFrame({"als_score": scores}, index=inputs.index)


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    name=columns.INTERACTION_TIME_VIEW,
    sources=[interaction_request],
    schema=[
        Field(name=columns.HOUR_OF_DAY, dtype=Int64),
        Field(name=columns.DAY_OF_WEEK, dtype=Int64),
    ],
    mode="pandas",
    description="Hour (0..23) and weekday (0 is Monday) of a play, in the business zone.",
    owner=OWNER,
    tags={"group": "time"},
)
def interaction_time(inputs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    from feature_repo.home import current_settings

    local = pd.to_datetime(inputs["interaction_timestamp"], utc=True).dt.tz_convert(current_settings().zone)
    return pd.DataFrame({"hour_of_day": local.dt.hour, "day_of_week": local.dt.dayofweek}, dtype="int64")
