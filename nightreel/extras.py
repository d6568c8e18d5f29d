"""Which settings need packages that the default install leaves out, and how to say so."""

import importlib.util

from nightreel.errors import InputError
from nightreel.settings import Settings

# Setting and value, the module that has to be there, what its users call it, the extra, what needs none.
_EXTRAS = (
    ("engine", "ray", "ray", "Ray", "ray", "local"),
    ("als_search", "approximate", "faiss", "faiss", "search", "exact"),
)


def wanted_extras(settings: Settings) -> list[str]:
    """Names of the extras that these settings need."""
    return [extra for setting, value, _, _, extra, _ in _EXTRAS if getattr(settings, setting) == value]


def require_extras(settings: Settings) -> None:
    """Raise InputError where the settings want a package that is not installed."""
    wanted = wanted_extras(settings)
    for setting, value, module, name, extra, other in _EXTRAS:
        if extra in wanted and importlib.util.find_spec(module) is None:
            raise InputError(
                f'Setting `{setting}` is "{value}", but {name} is not installed.',
                f"Install the extra: `pip install 'nightreel[{extra}]'`; or set {setting} = \"{other}\".",
            )
