"""The two sources of settings: arguments at construction, and the environment, which wins."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from nightreel.core.errors import InputError
from nightreel.core.settings.names import (
    ENVIRONMENT_PREFIX,
    Setting,
    every_setting,
    expanded,
    keys_of_tables,
    nearest,
)
from nightreel.core.settings.old_names import DROPPED, MOVED, drop, remember

# What nightreel itself sets, and what Kubernetes sets in a pod for a service called nightreel or nightreel-*.
_NO_SETTING = re.compile(
    r"DEBUG_TRACEBACKS|(\w+_)?SERVICE_(HOST|PORT(=\d+|_\w+))|(\w+_)?PORT(=\w+://.*|_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
# Tables that are passed on to LightGBM, so they may have settings that are not listed.
_OPEN_TABLES = ("ranker.lightgbm", "ranker.regressor")


class Given(PydanticBaseSettingsSource):
    """The values passed in, by section or by dotted name."""

    def __init__(self, settings_cls: type[BaseSettings], given: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As pydantic-settings asks for one field."""
        return self._given.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """All values, by section."""
        given = {
            name: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
            for name, value in self._given().items()
        }
        return expanded(given)


class Environment(PydanticBaseSettingsSource):
    """Variables like NIGHTREEL_LISTS_TOP_K, in any case."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Nothing: all fields are read at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, by section."""
        return expanded({name: value for name, (_, value) in from_environment(self.settings_cls).items()})


_read_instead: ContextVar[Mapping[str, str] | None] = ContextVar("_read_instead", default=None)


def environment() -> Mapping[str, str]:
    """The variables that settings are read from: the process's own, unless a block reads others."""
    others = _read_instead.get()
    return os.environ if others is None else others


@contextmanager
def reading_from(variables: Mapping[str, str]) -> Iterator[None]:
    """Read settings from these variables, not the process's own, in this thread until the block ends."""
    token = _read_instead.set(variables)
    try:
        yield
    finally:
        _read_instead.reset(token)


def is_known(name: str, settings: type[BaseModel]) -> bool:
    """Whether a setting or a key of its table has or had this name, or LightGBM may have such a parameter."""
    return (
        name in every_setting(settings)
        or name in keys_of_tables(settings)
        or name in MOVED
        or name in DROPPED
        or any(name.startswith(f"{table}.") for table in _OPEN_TABLES)
    )


def variables() -> list[str]:
    """Names of the environment's NIGHTREEL_* variables."""
    return sorted(name for name in environment() if name.upper().startswith(ENVIRONMENT_PREFIX))


def from_environment(settings: type[BaseModel]) -> dict[str, tuple[str, Any]]:
    """Setting name -> the variable that sets it, and its value.

    Raises:
        InputError: two variables set the same setting, one by its old name.
    """
    found: dict[str, tuple[str, Any]] = {}
    for variable in variables():
        name = _setting_of(variable, settings)
        if name is None:
            continue
        for one, value in _values(name, environment()[variable], settings):
            if one in found:
                raise InputError(
                    f"environment variables {found[one][0]} and {variable}: both set `{one}`.",
                    "Keep one of them.",
                )
            found[one] = (variable, value)
    return found


def _values(name: str, text: str, settings: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    setting = every_setting(settings).get(name)
    if name == "data":
        # The old name of the whole table.
        for own, value in _json(text).items():
            yield MOVED.get(f"data.{own}", f"data.{own}"), value
    elif setting is None:
        # A parameter of LightGBM's or the key of a table, with the type that its text has.
        yield name, _json_or_text(text)
    else:
        yield name, _json_or_text(text) if _is_table(setting) else text


def _is_table(setting: Setting) -> bool:
    return setting.path[:2] == ("data", "log") or bool(setting.keys)


def _json(text: str) -> Mapping[str, Any]:
    found = _json_or_text(text)
    if not isinstance(found, dict):
        raise InputError(
            f"environment variable {ENVIRONMENT_PREFIX}DATA: not a table in JSON.",
            "Set NIGHTREEL_DATA_PLAYS and so on.",
        )
    return found


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _setting_of(variable: str, settings: type[BaseModel]) -> str | None:
    """The name of the setting that a variable sets; None where it sets none."""
    known = {one.variable: name for name, one in every_setting(settings).items()}
    upper = variable.upper()
    if upper in known:
        return known[upper]
    for table in _OPEN_TABLES:
        start = f"{ENVIRONMENT_PREFIX}{table.replace('.', '_').upper()}_"
        if upper.startswith(start) and upper != start:
            return f"{table}.{upper.removeprefix(start).lower()}"
    old = _old_name(upper)
    if old in MOVED:
        new = MOVED[old]
        remember(f"environment variable {variable} is now {_variable_now(new, upper, settings)}")
        return new
    if old in DROPPED:
        drop(f"environment variable {variable}", old, environment()[variable])
    return None


def _variable_now(new: str, upper: str, settings: type[BaseModel]) -> str:
    """The variable of a setting's new name; of a table's key, the table's."""
    table = keys_of_tables(settings).get(new)
    if table is not None:
        return f"{table.variable}, in JSON: {json.dumps({new.rpartition('.')[2]: '...'})}"
    known = every_setting(settings).get(new)
    # NIGHTREEL_DATA was the whole table.
    return f"{upper}_PLAYS, ..." if known is None else known.variable


def _old_name(variable: str) -> str:
    """The name that a setting of this variable had, with or without its section."""
    plain = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
    return next((name for name in (*MOVED, *DROPPED) if name.replace(".", "_") == plain), plain)


def refuse_unknown_variables(settings: type[BaseModel]) -> None:
    """Raise InputError for a NIGHTREEL_* variable that is not known."""
    for variable in variables():
        rest = variable.upper().removeprefix(ENVIRONMENT_PREFIX)
        said = f"{rest}={environment()[variable]}" if rest.endswith("PORT") else rest
        known = _setting_of(variable, settings) is not None or _old_name(variable.upper()) in DROPPED
        if not known and not _NO_SETTING.fullmatch(said):
            meant = nearest(rest.lower(), settings)
            remedy = (
                f"Did you mean {_variable_now(meant, upper=variable, settings=settings)}?"
                if meant
                else "Unset it."
            )
            raise InputError(
                f"environment variable {variable}: no such setting.",
                f"{remedy} docs/settings.md lists them all.",
            )
