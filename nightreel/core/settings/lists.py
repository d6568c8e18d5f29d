"""`[lists]`: how long a list is, and what may stand in it."""

from pydantic import Field

from nightreel.core.settings.section import Section


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
    in_feast: bool = Field(
        default=False,
        description="Each night also puts the lists into Feast's view `user_recommendation` and its online "
        "store, as `nightreel export --to feast` does.",
    )
    user_block_rows: int = Field(default=256, description="Users scored at a time.", ge=1)
