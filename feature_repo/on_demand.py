"""The on-demand views: features computed when a pair, or an instant, is requested."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import UnixTimestamp

from feature_repo.entities import OWNER
from feature_repo.views import BY_NAME, FEAST_TYPES
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN

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


# Feast stores these functions by their code, so each imports what it uses and knows no name from outside; and
# it refuses descriptions on the fields of on-demand views, so the view's own says what they are.
def _view(name: str, sources: list[Any]) -> Callable[[Callable[[pd.DataFrame], pd.DataFrame]], Any]:
    """Feast's on-demand view of an entry of the catalogue."""
    view = BUILTIN.view(name)
    decorator: Callable[[Callable[[pd.DataFrame], pd.DataFrame]], Any] = on_demand_feature_view(
        name=name,
        sources=sources,
        schema=[Field(name=feature.name, dtype=FEAST_TYPES[feature.type]) for feature in view.features],
        mode="pandas",
        description=view.description,
        owner=OWNER,
        tags={"group": view.group},
    )
    return decorator


@_view(columns.ALS_SCORE_VIEW, [BY_NAME[columns.USER_FACTORS], BY_NAME[columns.VIDEO_FACTORS]])
def als_score(inputs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    from nightreel.core.catalogue.formulas import products_of_lists

    scores = products_of_lists(list(inputs["user_factor"]), list(inputs["video_factor"]))
    return pd.DataFrame({"als_score": scores}, index=inputs.index)


@_view(columns.INTERACTION_TIME_VIEW, [interaction_request])
def interaction_time(inputs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd
    import polars as pl

    from feature_repo.home import current_settings
    from nightreel.core.catalogue.formulas import hour_and_weekday

    utc = pd.to_datetime(inputs["interaction_timestamp"], utc=True).dt.tz_localize(None)
    hour, weekday = hour_and_weekday(
        pl.Series(utc.to_numpy("datetime64[us]")).dt.replace_time_zone("UTC"), current_settings().data.zone
    )
    return pd.DataFrame(
        {"hour_of_day": hour.to_numpy(), "day_of_week": weekday.to_numpy()}, index=inputs.index
    )


@_view(
    columns.VIDEO_TREND_VIEW,
    [
        *(BY_NAME[name] for name in (columns.VIDEO_RECENT, columns.VIDEO_ENGAGEMENT, columns.VIDEO_PROFILE)),
        interaction_request,
    ],
)
def video_trend(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import trend_of_videos

    return trend_of_videos(inputs)


@_view(
    columns.CATEGORY_LIFT_VIEW,
    [BY_NAME[columns.USER_CATEGORIES], BY_NAME[columns.VIDEO_PROFILE][[columns.CATEGORY_LEVELS[0]]]],
)
def category_lift(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import lift_of_category

    return lift_of_category(inputs)


def _sources_of(pair_view: str) -> list[Any]:
    return [BY_NAME[pair_view], BY_NAME[columns.USER_ACTIVITY], interaction_request]


@_view("user_author_taste", _sources_of("user_author"))
def user_author_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_author")


@_view("user_first_level_category_taste", _sources_of("user_first_level_category"))
def user_first_level_category_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_first_level_category")


@_view("user_second_level_category_taste", _sources_of("user_second_level_category"))
def user_second_level_category_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_second_level_category")


@_view("user_third_level_category_taste", _sources_of("user_third_level_category"))
def user_third_level_category_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_third_level_category")


@_view("user_tag_taste", _sources_of("user_tag"))
def user_tag_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_tag")


@_view("user_length_taste", _sources_of("user_length"))
def user_length_taste(inputs: pd.DataFrame) -> pd.DataFrame:
    from nightreel.core.catalogue.on_demand import taste_of_group

    return taste_of_group(inputs, "user_length")


ON_DEMAND = (
    als_score,
    interaction_time,
    video_trend,
    category_lift,
    user_author_taste,
    user_first_level_category_taste,
    user_second_level_category_taste,
    user_third_level_category_taste,
    user_tag_taste,
    user_length_taste,
)
