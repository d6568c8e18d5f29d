"""Own models, which other packages provide by entry points: candidate sources and last stages.

A package names them in its pyproject.toml, under `nightreel.sources` or `nightreel.rankers`; settings then
accept these names. Such a package is imported only when a step needs it.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nightreel.core.errors import InputError

SOURCES, RANKERS = "nightreel.sources", "nightreel.rankers"


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def forget_found() -> None:
    """Search again: for a process during which packages are installed, such as a notebook."""
    _found.cache_clear()


def own_names(group: str) -> tuple[str, ...]:
    """The names that installed packages provide, sorted."""
    return tuple(sorted(_found(group)))


def load_own(group: str, name: str) -> Any:
    """The object with this name. Raises InputError if it is missing or cannot be imported."""
    point = _found(group).get(name)
    if point is None:
        raise InputError(
            f"{name}: no installed package provides it (entry points {group}).",
            "Install the package, or take the name out of the settings.",
        )
    try:
        return point.load()
    except Exception as error:  # another's code may raise anything
        raise InputError(
            f"{name}: {point.value} cannot be imported: {type(error).__name__}: {error}.",
            "Repair the package that provides it, or take the name out of the settings.",
        ) from error


def version_of(group: str, name: str) -> str:
    """The version of the package that provides it; another version's fits are not reused."""
    point = _found(group).get(name)
    return "" if point is None or point.dist is None else str(point.dist.version)
