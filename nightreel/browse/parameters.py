"""What stands in an address: text, until one function for each kind makes an id, a run or a number of it."""

from collections.abc import Mapping

from nightreel.core.errors import InputError

RUN_MAX = 2**31 - 1
_ID_MAX = 2**63 - 1


def given_id(parameters: Mapping[str, str], name: str) -> int | None:
    """The id of a user or video as the tables have it; None where none is given."""
    text = parameters.get(name, "").strip()
    return id_of(text, name) if text else None


def id_of(text: str, name: str) -> int:
    """An id of a user or a video as the tables have it. Raises InputError where it can be none."""
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= 20
    if not is_number or not -_ID_MAX - 1 <= int(text) <= _ID_MAX:
        raise InputError(f"{name}: {text[:40]!r} is no id.", "Ids are whole numbers of at most 64 bits.")
    return int(text)


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
