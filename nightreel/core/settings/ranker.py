"""`[ranker]`: what the lists are trained for, and the models that order them."""

from typing import Literal

from pydantic import Field, field_validator

from nightreel.core.own_models import RANKERS, own_names
from nightreel.core.settings.lightgbm_tables import LightgbmSettings, RegressorSettings
from nightreel.core.settings.section import Section


class RankerSettings(Section):
    """Classifier, regressor, and their order."""

    objective: Literal["auto", "shown", "next_day"] = Field(
        default="auto",
        description="What the lists are trained to predict: `shown`, the liked videos among those shown; "
        "`next_day`, the videos liked on the next day out of all; `auto`, whichever wins on past data.",
    )
    filter_k: int = Field(
        default=500,
        description="Candidates that the classifier hands to the regressor; top_k where that is more.",
        ge=1,
    )
    last_stage: str | None = Field(
        default=None,
        description="Your own model that orders what the filter has kept (docs/own-models.md); not set: "
        "nightreel's own order.",
    )
    lightgbm: LightgbmSettings = Field(
        default=LightgbmSettings(), description="LightGBM's parameters, by its own names."
    )
    regressor: RegressorSettings = Field(
        default=RegressorSettings(), description="What the regressor has otherwise."
    )

    @field_validator("last_stage")
    @classmethod
    def _known_last_stage(cls, value: str | None) -> str | None:
        if value is not None and value not in own_names(RANKERS):
            known = ", ".join(own_names(RANKERS)) or "none"
            raise ValueError(f"{value!r}: no installed package provides it ({RANKERS}; there are: {known})")
        return value
