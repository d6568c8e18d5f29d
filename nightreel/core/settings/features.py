"""`[features]`: features of users and videos, and ALS."""

from typing import Any

from pydantic import Field, field_validator

from nightreel.core.settings.section import Section

# In `modules`: nightreel's own views of pairs.
PAIR_VIEWS = "pair_views"


class AlsSettings(Section):
    """How large ALS is, and how often it is fitted."""

    factors: int = Field(
        default=64, description="dimensions of the factors, the two biases included", ge=3, le=512
    )
    refit_days: int = Field(default=7, description="days between refits", ge=1)


class FeatureSettings(Section):
    """Own features, and the factors of users and videos."""

    modules: tuple[str, ...] = Field(
        default=(),
        description="Your own Python modules with features: names, or paths of files relative to the home; "
        "in the environment separated by commas. `pair_views` among them builds nightreel's own Feast views "
        "of a user with an author, a category, a tag and a length, for models of your own: nightreel's "
        "rankers compute what they need of these as they read the plays.",
    )
    als: AlsSettings = Field(default=AlsSettings(), description="The factors of users and videos.")

    @field_validator("modules", mode="before")
    @classmethod
    def _names_of_modules(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",") if name.strip()]
        if isinstance(value, list | tuple) and len(set(map(str, value))) != len(value):
            raise ValueError("a module is named twice")
        return value

    @property
    def pair_views(self) -> bool:
        """Whether nightreel's own views of a user with a group of videos are built."""
        return PAIR_VIEWS in self.modules

    @property
    def own_modules(self) -> tuple[str, ...]:
        """The user's modules alone."""
        return tuple(name for name in self.modules if name != PAIR_VIEWS)
