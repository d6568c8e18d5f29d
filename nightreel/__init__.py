"""nightreel's Python API (docs/python.md); its subpackages hold the command line, operations and settings.

The names below are imported when they are first used, so that `import nightreel` is fast;
`__init__.pyi` lists them for type checkers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTED = {
    "AuditError": ("nightreel.core.errors", "AuditError"),
    "BusyError": ("nightreel.core.errors", "BusyError"),
    "Explanation": ("scoring.explain", "Explanation"),
    "Fitted": ("nightreel.api.fitted", "Fitted"),
    "Home": ("nightreel.api.home", "Home"),
    "InputError": ("nightreel.core.errors", "InputError"),
    "LastStage": ("scoring.lists.last_stage", "LastStage"),
    "NightreelError": ("nightreel.core.errors", "NightreelError"),
    "OtherPython": ("pipelines.retrieval.other_python", "OtherPython"),
    "Recommender": ("pipelines.retrieval.own", "Recommender"),
    "fit": ("nightreel.api.fitted", "fit"),
    "open": ("nightreel.api.home", "open_home"),
}
__all__ = ["__version__", *sorted(_EXPORTED)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _EXPORTED:
        raise AttributeError(f"module 'nightreel' has no attribute {name!r}")
    module, exported = _EXPORTED[name]
    return getattr(import_module(module), exported)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTED})
