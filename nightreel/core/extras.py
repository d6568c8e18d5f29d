"""Which settings need packages that the default install leaves out, and how to say so."""

import importlib.util
from typing import NamedTuple

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings


class _Extra(NamedTuple):
    """What a value of a setting needs. name: of the package, for readers. otherwise: a value without need."""

    setting: str
    value: str
    module: str
    name: str
    extra: str
    otherwise: str


_EXTRAS = (
    _Extra("engine", "ray", "ray", "Ray", "ray", otherwise="local"),
    _Extra("als_search", "approximate", "faiss", "faiss", "search", otherwise="exact"),
)


def wanted_extras(settings: Settings) -> list[str]:
    """Names of the extras that these settings need."""
    return [wanted.extra for wanted in _wanted(settings)]


def require_extras(settings: Settings) -> None:
    """Raise InputError where the settings want a package that is not installed."""
    for setting, value, module, name, extra, otherwise in _wanted(settings):
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f'Setting `{setting}` is "{value}", but {name} is not installed.',
                f"Install the extra: `pip install 'nightreel[{extra}]'`; or set {setting} = \"{otherwise}\".",
            )


def _wanted(settings: Settings) -> list[_Extra]:
    return [extra for extra in _EXTRAS if getattr(settings, extra.setting) == extra.value]
