"""Parameters of an address: a function for each kind turns the text into an id, a run or a number."""

from collections.abc import Mapping

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Paths
from pipelines.ingest.conversion import ID_BYTES_MAX

RUN_MAX = 2**31 - 1


def given_id(paths: Paths, parameters: Mapping[str, str], name: str) -> int | str | None:
    """A user or video id as the tables store it; None if the parameter is missing.

    Args:
        name: of the parameter; all but `video` are users.

    Raises:
        InputError: this home cannot have such an id.
    """
    text = parameters.get(name, "").strip()
    if len(text.encode()) > ID_BYTES_MAX or "\0" in text:
        raise InputError(
            f"{name}: {text[:40]!r} is not an id: it has a NUL, or more than {ID_BYTES_MAX} bytes.",
            "Write the id as in the log.",
        )
    column = columns.VIDEO_ID if name == "video" else columns.USER_ID
    return Ids.of(paths, column).given(text) if text else None


def given_run(parameters: Mapping[str, str], name: str = "run") -> int | None:
    """A run's id; None if the parameter is missing."""
    return given_number(parameters, name, RUN_MAX)


def given_number(parameters: Mapping[str, str], name: str, most: int, *, least: int = 0) -> int | None:
    """An integer; None if the parameter is missing. Raises InputError unless it is from `least` to `most`."""
    text = parameters.get(name, "").strip()
    if not text:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) <= 19
    if not is_number or not least <= int(text) <= most:
        raise InputError(
            f"{name}: {text[:40]!r} is not a number from {least} to {most}.", "Write one of them, in digits."
        )
    return int(text)
