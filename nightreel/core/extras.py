"""The settings that need packages beyond the default install, and the errors that say so."""

import importlib.util
from typing import NamedTuple

from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings
from nightreel.core.settings.names import toml_name
from nightreel.core.settings.needs import LogNeeds


class _Extra(NamedTuple):
    """An optional package that a value of a setting depends on.

    Attributes:
        value: the setting's, or one of the names that it lists.
        name: of the package, for readers.
        otherwise: a value that needs no package.
    """

    setting: str
    value: str
    module: str
    name: str
    extra: str
    otherwise: str


_RAY = _Extra("cluster.engine", "ray", "ray", "Ray", "ray", otherwise="local")
_EXTRAS = (
    _RAY,
    _Extra("retrieval.candidates", "als_approximate", "faiss", "faiss", "search", otherwise="als"),
)


# Databases that queries may be put to, by the name that their URLs begin with: module and readers' name of
# the driver, which the extra of that name brings.
_DRIVERS = {
    "duckdb": ("adbc_driver_duckdb", "DuckDB"),
    "snowflake": ("snowflake", "snowflake-sqlalchemy"),
    "bigquery": ("sqlalchemy_bigquery", "sqlalchemy-bigquery"),
}


# The candidate source that goes without where its packages are not installed, and its extra.
SEQUENCE = "sequence"
WITHOUT_SEQUENCE = "the candidate source sequence is left out: JAX is not installed"
INSTALL_SEQUENCE = f"Install the extra: `pip install 'nightreel[{SEQUENCE}]'`."


def required_extras(settings: LogNeeds) -> list[str]:
    """Names of the extras that these settings need, or would use."""
    source = _source_kind(settings.data)
    sources = settings.value("retrieval.sources").split(",")
    return [
        *(required.extra for required in _required(settings)),
        *([source] if source in _DRIVERS else []),
        *([SEQUENCE] if SEQUENCE in sources else []),
    ]


def has_sequence() -> bool:
    """Whether the packages of the source `sequence` are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("jax", "optax"))


def require_source_driver(kind: str) -> None:
    """Raise InputError if the extra with the driver of this kind of database is not installed."""
    module, name = _DRIVERS.get(kind, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise InputError(
            f"[data] source_url is of {kind}, and {name} is not installed.",
            f"Install the extra: `pip install 'nightreel[{kind}]'`.",
        )


def _source_kind(settings: DataSettings) -> str:
    url = "" if settings.source_url is None else settings.source_url.get_secret_value()
    return url.partition(":")[0].partition("+")[0]


def require_extras(settings: LogNeeds) -> None:
    """Raise InputError if the settings need a package that is not installed."""
    require_source_driver(_source_kind(settings.data))
    for one in _required(settings):
        _require(one)


def require_ray() -> None:
    """Raise InputError if Ray is not installed."""
    _require(_RAY)


def _require(one: _Extra) -> None:
    if importlib.util.find_spec(one.module) is None:
        raise InputError(
            f'Setting `{toml_name(one.setting)}` names "{one.value}", but {one.name} is not installed.',
            f"Install the extra: `pip install 'nightreel[{one.extra}]'`; or set "
            f'{toml_name(one.setting)} = "{one.otherwise}".',
        )


def _required(settings: LogNeeds) -> list[_Extra]:
    return [extra for extra in _EXTRAS if extra.value in settings.value(extra.setting).split(",")]
