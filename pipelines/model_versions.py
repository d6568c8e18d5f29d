"""The model versions of a home, for the command line: each one's objective, and which makes the lists."""

from typing import Any

from nightreel.core.errors import InputError
from nightreel.core.settings import Paths
from pipelines.model_registry import champion_name, find, promote, version_names
from pipelines.rankers.objective import objective_of


def list_versions(paths: Paths) -> list[dict[str, Any]]:
    """Every version, newest first by its data; a damaged one with what is wrong. Files are checked."""
    champion = champion_name(paths)
    rows = []
    for name in reversed(version_names(paths)):
        row: dict[str, Any] = {"version": name, "champion": name == champion}
        try:
            version = find(paths, name)
        except InputError as error:
            rows.append(row | {"objective": None, "fitted_before": None, "error": str(error)})
            continue
        data = version.manifest.get("data", {})
        row |= {"objective": objective_of(version), "fitted_before": data.get("holdout_from"), "error": None}
        rows.append(row)
    return rows


def promote_version(paths: Paths, version: str) -> str | None:
    """Make a version the champion, and say which one was before.

    The next run uses it, and the next training that is not worse replaces it.

    Raises:
        InputError: if there is no such version, or it is damaged.
    """
    if version not in version_names(paths):
        names = ", ".join(version_names(paths)) or "none"
        raise InputError(f"{version}: no such model version.", f"There are: {names}.")
    found = find(paths, version)
    before = champion_name(paths)
    if before != version:
        promote(paths, found)
    return before
