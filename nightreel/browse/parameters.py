"""What stands in an address: text, until one function for each kind makes an id, a run or a number of it."""

from collections.abc import Mapping

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Settings

RUN_MAX = 2**31 - 1
_CHARACTERS_MAX = 400


def given_id(settings: Settings, parameters: Mapping[str, str], name: str) -> int | str | None:
    """The id of a user or video as the tables have it; None where none is given.

    name: what stands in the address; all but `video` is of a user. Raises InputError where it can be none of
    this home.
    """
    text = parameters.get(name, "").strip()[:_CHARACTERS_MAX]
    column = columns.VIDEO_ID if name == "video" else columns.USER_ID
    return Ids.of(settings.paths, column).given(text) if text else None


def given_run(parameters: Mapping[str, str], name: str = "run") -> int | None:
    """A run's number; None where none is given."""
    return given_number(parameters, name, RUN_MAX)


def given_number(parameters: Mapping[str, str], name: str, most: int) -> int | None:
    """A whole number from 0; None where none is given. Raises InputError where it is none or above `most`."""
    text = parameters.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > most:
        raise InputError(f"{name}: {text[:40]!r} is not a number.", f"Write digits, at most {most}.")
    return int(text)
