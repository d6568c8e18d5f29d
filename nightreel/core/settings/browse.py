"""`[browse]`: the pages that people look at."""

import re

from pydantic import Field, SecretStr, field_validator

from nightreel.core.settings.section import Section


class BrowseSettings(Section):
    """The content of `nightreel browse`, and who may see it."""

    password: SecretStr | None = Field(
        default=None,
        description="Password that the pages and the API of `nightreel browse` ask for, with any user name; "
        "required if it serves other machines. Set it in the environment.",
        min_length=8,
    )
    thumbnail_url: str | None = Field(
        default=None,
        description="Address of a video's picture, e.g. `https://cdn.example.com/{video_id}.jpg`, which the "
        "browser loads; not set: no pictures.",
    )

    @field_validator("thumbnail_url")
    @classmethod
    def _picture_of_a_host(cls, value: str | None) -> str | None:
        pattern = r"https?://[A-Za-z0-9.-]+(:\d+)?/[^\s\"'<>;]*\{video_id\}[^\s\"'<>;]*"
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r}: write it like https://cdn.example.com/{{video_id}}.jpg")
        return value
