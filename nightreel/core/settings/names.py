"""Names of settings: `lists.top_k` in code and on the command line, [lists] top_k in the file.

In the environment the same setting is NIGHTREEL_LISTS_TOP_K.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

ENVIRONMENT_PREFIX = "NIGHTREEL_"
# Marks a field that follows from a setting and is not one itself.
FOLLOWS: JsonDict = {"follows": True}
# The settings of a log of another layout are in [data], beside the others.
_OF_LOG = ("data", "log")


@dataclass(frozen=True)
class Setting:
    """One setting; `path` holds the attribute names that lead to it."""

    name: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def section(self) -> str:
        """Its table in nightreel.toml; empty for settings above all tables."""
        return self.name.rpartition(".")[0]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.replace(".", "_").upper()

    @property
    def keys(self) -> Mapping[str, FieldInfo]:
        """The keys of a setting that is a table of known keys, such as `lists.exclude`."""
        kind = self.field.annotation
        return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


@cache
def every_setting(settings: type[BaseModel]) -> Mapping[str, Setting]:
    """Every setting by name, in the order of the sections."""
    return {one.name: one for one in _settings_of(settings, (), ())}


def _settings_of(model: type[BaseModel], names: tuple[str, ...], path: tuple[str, ...]) -> list[Setting]:
    found = []
    for name, field in model.model_fields.items():
        if field.json_schema_extra == FOLLOWS:
            continue
        inner, here = model_of(field.annotation), (*path, name)
        is_table = inner is not None and (path in ((), ("ranker",)) or here == _OF_LOG)
        if inner is not None and is_table:
            found += _settings_of(inner, names if here == _OF_LOG else (*names, name), here)
        else:
            found.append(Setting(".".join((*names, name)), here, field))
    return found


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The class of a table, optional or not; None for a plain value."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def sections(settings: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Each section's class by name."""
    kinds = {name: model_of(field.annotation) for name, field in settings.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


@cache
def keys_of_tables(settings: type[BaseModel]) -> Mapping[str, Setting]:
    """Every key of a setting that is a table, by its dotted name: `lists.exclude.seen` -> `lists.exclude`."""
    return {f"{name}.{key}": one for name, one in every_setting(settings).items() for key in one.keys}


def toml_name(name: str) -> str:
    """A setting's name as in nightreel.toml: `[lists] top_k`."""
    section, _, own = name.rpartition(".")
    return f"[{section}] {own}" if section else own


def nearest(name: str, settings: type[BaseModel]) -> str | None:
    """The name that was probably meant, in this section or another."""
    known = [*every_setting(settings), *keys_of_tables(settings)]
    own = name.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == own]
    found = same or difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not found:
        by_own = {one.rpartition(".")[2]: one for one in known}
        found = [by_own[one] for one in difflib.get_close_matches(own, by_own, n=1, cutoff=0.7)]
    return found[0] if found else None


def flattened(values: Mapping[str, Any], settings: type[BaseModel]) -> dict[str, Any]:
    """Values by section as values by dotted name; the inverse of `expanded`."""
    tables = {one.section for one in every_setting(settings).values()}

    def within(inner: Mapping[str, Any], section: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for own, value in inner.items():
            name = f"{section}.{own}" if section else own
            found |= within(value, name) if isinstance(value, Mapping) and name in tables else {name: value}
        return found

    return within(values, "")


def merged(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Values by section with others over them, table by table."""
    found = dict(values)
    for name, value in others.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if both else value
    return found


def expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as values by section: {"lists.top_k": 5} as {"lists": {"top_k": 5}}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *tables, own = name.split(".")
        inner = found
        for table in tables:
            inner = inner.setdefault(table, {})
        if isinstance(value, Mapping) and isinstance(inner.get(own), dict):
            inner[own] = {**inner[own], **value}
        else:
            inner[own] = dict(value) if isinstance(value, Mapping) else value
    return found
