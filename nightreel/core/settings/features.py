"""`[features]`: what is computed of users and videos, and ALS."""

from typing import Any

from pydantic import Field, field_validator

from nightreel.core.settings.section import Section


class FeatureSettings(Section):
    """Own features, and the factors of users and videos."""

    modules: tuple[str, ...] = Field(
        default=(),
        description="Your own Python modules with features: names, or paths of files from the home; in the "
        "environment with commas between.",
    )
    pair_views: bool = Field(
        default=False,
        description="Build the Feast views of a user with an author, a category, a tag and a length too. For "
        "models of your own: nightreel's rankers compute what they need of these as they read the plays.",
    )
    als_factors: int = Field(
        default=64, description="Dimensions of the ALS factors, the two biases included.", ge=3, le=512
    )
    als_refit_days: int = Field(default=7, description="Days between ALS refits.", ge=1)

    @field_validator("modules", mode="before")
    @classmethod
    def _names_of_modules(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",") if name.strip()]
        if isinstance(value, list | tuple) and len(set(map(str, value))) != len(value):
            raise ValueError("a module is named twice")
        return value
