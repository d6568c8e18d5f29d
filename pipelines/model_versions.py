"""The model versions of a home, for the command line: each one's objective, and which makes the lists."""

from typing import TypedDict

from nightreel.core.errors import InputError
from nightreel.core.settings import Paths
from pipelines.model_registry import champion_name, find, promote, version_names
from pipelines.rankers.objective import objective_of


class VersionFacts(TypedDict):
    """A model version, as it is listed.

    Attributes:
        fitted_before: where the hold-out begins, ISO; None for a damaged version.
        error: what is wrong with its files; None if nothing is.
    """

    version: str
    champion: bool
    objective: str | None
    fitted_before: str | None
    error: str | None


def list_versions(paths: Paths) -> list[VersionFacts]:
    """Every version, newest data first; files are checked, and a damaged version has its fault in `error`."""
    champion = champion_name(paths)
    rows: list[VersionFacts] = []
    for name in reversed(version_names(paths)):
        row = VersionFacts(
            version=name, champion=name == champion, objective=None, fitted_before=None, error=None
        )
        try:
            version = find(paths, name)
        except InputError as error:
            rows.append({**row, "error": str(error)})
            continue
        fitted_before = version.manifest.get("data", {}).get("holdout_from")
        rows.append({**row, "objective": objective_of(version), "fitted_before": fitted_before})
    return rows


def promote_version(paths: Paths, version: str) -> str | None:
    """Make a version the champion, and say which one was before.

    The next run uses it, and the next training that is not worse replaces it.

    Raises:
        InputError: if there is no such version, or it is damaged.
    """
    if version not in version_names(paths):
        names = ", ".join(version_names(paths))
        remedy = f"There are: {names}." if names else "Run `nightreel train` first: there is none yet."
        raise InputError(f"{version}: no such model version.", remedy)
    found = find(paths, version)
    before = champion_name(paths)
    if before != version:
        promote(paths, found)
    return before
