"""`[lists]`: how long a list is, and what may stand in it."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from nightreel.core import columns
from nightreel.core.settings.section import Section, listed


class ListSettings(Section):
    """Rules of each user's list."""

    top_k: int = Field(default=100, description="Length of each user's list.", ge=1, le=10_000)
    exclude_seen: bool = Field(
        default=True, description="Leave out videos that the user has already watched."
    )
    exclude_seen_days: int | None = Field(
        default=None,
        description="Watched videos may be listed again after so many days; not set: never again.",
        ge=1,
    )
    exclude_not_public: bool = Field(
        default=True, description="Leave out videos whose last known visible_status is not `public`."
    )
    exclude_advertisements: bool = Field(
        default=False, description="Leave out videos whose video_type is `AD`."
    )
    max_video_age_days: int | None = Field(
        default=None, description="Leave out videos uploaded more than so many days ago.", ge=1
    )
    max_per_author: int | None = Field(
        default=None, description="Most videos of one author in a list; not set: any number.", ge=1
    )
    max_per_category: int | None = Field(
        default=None, description="Most videos of one first-level category in a list.", ge=1
    )
    diversity: float = Field(
        default=0.0,
        description="Weight of the next row's likeness (text, category) to the rows before it against its "
        "position in the order (maximal marginal relevance); 0: none.",
        ge=0,
        lt=1,
    )
    repeat_discount: Annotated[float, Field(ge=0, lt=1)] | Literal["fitted"] = Field(
        default=0.0,
        description="A video that stood in the first 20 rows for 3 nights and was not played has its "
        "position divided by 1 less this, once more for each further night; 0: none; `fitted`: what "
        "`nightreel evaluate` finds to gain (docs/rules.md).",
    )
    explore_share: float = Field(
        default=0.0,
        description="Share of a list's rows after the tenth that are drawn by chance from the next 50 of the "
        "order, with their probability in the column `propensity`; 0: none.",
        ge=0,
        le=1,
    )
    related_k: int = Field(
        default=0,
        description="Length of each video's list of related videos, by what users play together and by text "
        "(view `latest_related`); 0: none are made.",
        ge=0,
        le=1_000,
    )
    popular_k: int = Field(
        default=0,
        description="Length of the lists of popular videos, for visitors without an id (view "
        "`latest_popular`); 0: none are made.",
        ge=0,
        le=10_000,
    )
    segments: tuple[str, ...] = Field(
        default=(),
        description="Columns of the users table by each value of which there is a list of popular videos "
        "too, e.g. `user_active_degree`; in the environment with commas between.",
    )
    in_feast: bool = Field(
        default=False,
        description="Each night also puts the lists into Feast's view `user_recommendation` and its online "
        "store, as `nightreel export --to feast` does.",
    )

    @property
    def fixed_repeat_discount(self) -> float:
        """repeat_discount as a number; 0 for `fitted`, which publishing replaces by what was found."""
        return 0.0 if isinstance(self.repeat_discount, str) else self.repeat_discount

    @field_validator("segments", mode="before")
    @classmethod
    def _names_of_segments(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [name for name in listed(value) if name]
        if isinstance(value, list | tuple):
            names = [str(name) for name in value]
            if len(set(names)) != len(names):
                raise ValueError("a column is named twice")
            if columns.OVERALL in names:
                raise ValueError(
                    f"`{columns.OVERALL}` is the name of the list for all; there is always that one"
                )
        return value
