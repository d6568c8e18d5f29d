"""`importances.json` of a model version: how much each feature is used by the two models of `shown`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

_FILE = "importances.json"


class Importance(TypedDict):
    """A feature's share of all gain, and its number of splits, in both models."""

    feature: str
    classifier_gain: float
    classifier_splits: int
    regressor_gain: float
    regressor_splits: int


def importances_file(folder: Path) -> Path:
    """The file in a version's folder."""
    return folder / _FILE


def write_importances(folder: Path, rows: Sequence[Importance]) -> None:
    """Write the rows to a version's folder."""
    importances_file(folder).write_text(json.dumps(list(rows), indent=1), encoding="utf-8")


def read_importances(folder: Path) -> list[Importance]:
    """Read what `write_importances` wrote; a checked version has it."""
    rows: list[Importance] = json.loads(importances_file(folder).read_text(encoding="utf-8"))
    return rows
