"""`[lists]`: how long a list is, and what may be in it."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from nightreel.core import columns
from nightreel.core.settings.section import Section, listed


class Exclusions(Section):
    """Videos that are never listed."""

    seen: bool = Field(default=True, description="videos that the user has watched")
    seen_days: int | None = Field(
        default=None, description="watched videos may be listed again after this many days", ge=1
    )
    not_public: bool = Field(
        default=True, description="videos whose last known visible_status is not `public`"
    )
    advertisements: bool = Field(default=False, description="videos whose video_type is `AD`")
    max_age_days: int | None = Field(
        default=None, description="videos uploaded more than this many days ago", ge=1
    )

    @property
    def is_new_only(self) -> bool:
        """Whether a video that a user has watched is never listed again."""
        return self.seen and self.seen_days is None


class Caps(Section):
    """Most videos of a kind in a list."""

    author: int | None = Field(default=None, description="of one author", ge=1)
    category: int | None = Field(default=None, description="of one first-level category", ge=1)


class SharedLists(Section):
    """Lists that are not a user's."""

    related_k: int = Field(
        default=0,
        description="length of each video's list of related videos, by what users play together and by text "
        "(view `latest_related`); 0: none",
        ge=0,
        le=1_000,
    )
    popular_k: int = Field(
        default=0,
        description="length of the lists of popular videos, for visitors without an id (view "
        "`latest_popular`); 0: none",
        ge=0,
        le=10_000,
    )
    segments: tuple[str, ...] = Field(
        default=(),
        description="columns of the users table, e.g. `user_active_degree`; each of their values gets a list "
        "of popular videos too",
    )

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
                    f"`{columns.OVERALL}` is the name of the list for everyone, which is always made"
                )
        return value


class ListSettings(Section):
    """Rules of each user's list."""

    top_k: int = Field(default=100, description="Length of each user's list.", ge=1, le=10_000)
    exclude: Exclusions = Field(default=Exclusions(), description="Videos that are left out of every list.")
    max_per: Caps = Field(default=Caps(), description="Most videos of a kind in a list; not set: any number.")
    diversity: float = Field(
        default=0.0,
        description="Weight of a row's likeness (text, category) to the rows above it, against its position "
        "in the order (maximal marginal relevance); 0: none.",
        ge=0,
        lt=1,
    )
    repeat_discount: Annotated[float, Field(ge=0, lt=1)] | Literal["fitted"] = Field(
        default=0.0,
        description="If a video was in the first 20 rows for 3 nights and was not played, its position is "
        "divided by 1 minus this, and once more for each further night; 0: none; `fitted`: the value that "
        "`nightreel evaluate` finds (docs/rules.md).",
    )
    explore_share: float = Field(
        default=0.0,
        description="Share of a list's rows after the tenth that are drawn at random from the next 50 of the "
        "order, with their probability in the column `propensity`; 0: none.",
        ge=0,
        le=1,
    )
    shared: SharedLists = Field(
        default=SharedLists(),
        description="Lists that are not a user's (docs/lists.md); by default none are made.",
    )
    in_feast: bool = Field(
        default=False,
        description="Each night also writes the lists to Feast's view `user_recommendation` and its online "
        "store, as `nightreel export --to feast` does.",
    )

    @property
    def fixed_repeat_discount(self) -> float:
        """repeat_discount as a number; 0 for `fitted`, which publishing replaces by what was found."""
        return 0.0 if isinstance(self.repeat_discount, str) else self.repeat_discount
