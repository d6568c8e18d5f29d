"""The base class of all sections of nightreel.toml, and checks that several of them share."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """One table of nightreel.toml: settings that belong together and that a step takes as one argument."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is not a known time zone; use a name like Asia/Shanghai") from error
    return value


ZoneName = Annotated[str, AfterValidator(_known_zone)]
"""The name of a time zone that this machine knows."""


def listed(value: str) -> list[str]:
    """The names in a comma-separated text."""
    return [name.strip() for name in value.split(",")]
