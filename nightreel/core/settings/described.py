"""The settings in force for people: value, origin, meaning; secrets are masked."""

from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from nightreel.core.settings.loading import file_values
from nightreel.core.settings.names import every_setting, flattened
from nightreel.core.settings.settings import Settings
from nightreel.core.settings.sources import from_environment
from nightreel.core.settings.urls import masked_url

Origin = Literal["environment", "file", "default"]
_URLS = ("database.url", "data.source_url")


def origins() -> dict[str, Origin]:
    """The source of each setting's effective value."""
    _, values = file_values()
    by_environment, by_file = from_environment(Settings), flattened(values, Settings)
    return {
        name: "environment" if name in by_environment else "file" if name in by_file else "default"
        for name in every_setting(Settings)
    }


def describe(settings: Settings) -> list[dict[str, str]]:
    """Each setting's name, value, source and purpose; secrets are masked.

    LightGBM's passed-through parameters follow those with names of their own.
    """
    came_from: dict[str, Origin] = origins()
    rows = [
        {
            "setting": name,
            "value": _shown(name, settings.value(name)),
            "from": came_from[name],
            "meaning": one.field.description or "",
        }
        for name, one in every_setting(Settings).items()
    ]
    passed_on = {
        "ranker.lightgbm": settings.ranker.lightgbm.model_extra,
        "ranker.regressor": settings.ranker.regressor.model_extra,
    }
    by_environment = from_environment(Settings)
    for table, values in passed_on.items():
        rows += [
            {
                "setting": f"{table}.{name}",
                "value": str(value),
                "from": "environment" if f"{table}.{name}" in by_environment else "file",
                "meaning": "Passed on to LightGBM.",
            }
            for name, value in (values or {}).items()
        ]
    return rows


def _shown(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return masked_url(value.get_secret_value()) if name in _URLS else str(value)
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    if isinstance(value, BaseModel):
        is_whole = bool(every_setting(Settings)[name].keys)
        return value.model_dump_json(exclude_none=True, exclude_defaults=not is_whole)
    return "not set" if value is None else str(value)
