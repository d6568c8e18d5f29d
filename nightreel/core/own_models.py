"""Models of one's own, which other packages bring by entry points: candidate sources and last stages.

A package names them in its pyproject.toml, under `nightreel.sources` or `nightreel.rankers`; settings then
accept these names. Nothing of such a package is imported until a step needs it.
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
    """Look anew: for a process in which packages come and go, such as a notebook after an install."""
    _found.cache_clear()


def own_names(group: str) -> tuple[str, ...]:
    """The names that installed packages bring, in order of the alphabet."""
    return tuple(sorted(_found(group)))


def load_own(group: str, name: str) -> Any:
    """What stands under a name. Raises InputError where it is not there or cannot be imported."""
    point = _found(group).get(name)
    if point is None:
        raise InputError(
            f"{name}: no installed package brings it (entry points {group}).",
            "Install the package, or take the name out of the settings.",
        )
    try:
        return point.load()
    except Exception as error:  # another's code may raise anything
        raise InputError(
            f"{name}: {point.value} cannot be imported: {type(error).__name__}: {error}.",
            "Repair the package that brings it, or take the name out of the settings.",
        ) from error


def version_of(group: str, name: str) -> str:
    """The version of the package that brings it: what was learnt by another version is learnt anew."""
    point = _found(group).get(name)
    return "" if point is None or point.dist is None else str(point.dist.version)
