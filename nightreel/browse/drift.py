"""The content of the drift page: the newest night's features, and the nights, as tables."""

from typing import Any

from nightreel.browse.scorecard import percent
from nightreel.browse.table import Column, Table, table
from nightreel.core.settings import Paths
from nightreel.operations.drift.stored import DriftNight, nights

_NIGHTS_MAX = 30
_PLAYS = "Share of the newest day's plays"
_COLUMNS = (
    Column("name", "Feature or score", "Its name in the catalogue, or the model whose score it is."),
    Column(
        "index",
        "Index",
        "Population stability index: how far it is from the training window; 0 is not at all.",
        "number",
    ),
    Column("missing", "Missing", f"{_PLAYS} without a value.", "number"),
    Column("missing_training", "Missing in training", "The same in the training window.", "number"),
    Column(
        "unknown",
        "Unknown category",
        f"{_PLAYS} with a category that training had not seen; the model reads it as missing.",
        "number",
    ),
    Column("moved", "Moved", "Index above 0.25, missing changed by over 10 points, or over 5 % unknown."),
)
_NIGHTS = (
    Column("night", "Day", "The local day whose plays were compared."),
    Column("model", "Model", "The version of the models whose training window they were compared with."),
    Column("plays", "Plays", "Plays of the day.", "number"),
    Column("usual", "Usual", "The median of the two weeks before.", "number"),
    Column("liked", "Liked", "Share of the day's plays that were liked.", "number"),
    Column("liked_training", "Liked in training", "The same in the training window.", "number"),
    Column("moved", "Moved", "How many features and scores had moved.", "number"),
)


def drift_page(paths: Paths) -> dict[str, Any]:
    """The newest night's table and the table of nights; no tables if no night was compared yet.

    Raises:
        InputError: a night's file is damaged.
    """
    found = nights(paths, most=_NIGHTS_MAX)
    if not found:
        return {"night": None}
    return {"night": found[0], "features": _features(found[0]), "nights": _nights(found)}


def _features(night: DriftNight) -> Table:
    rows = [
        {
            **column,
            "missing": percent(column["missing"]),
            "missing_training": percent(column["missing_training"]),
            "unknown": percent(column["unknown"]),
            "index": f"{column['index']:.2f}",
            "moved": "yes" if column["moved"] else "no",
            "marked": column["moved"],
        }
        for column in sorted(night["columns"], key=lambda column: -column["index"])
    ]
    title = "Features and scores, those that moved farthest first"
    return table("columns", title, _COLUMNS, rows, marked="marked")


def _nights(found: list[DriftNight]) -> Table:
    rows = [
        {
            "night": night["night"],
            "model": night["model_version"],
            "plays": night["plays"]["day"],
            "usual": f"{night['plays']['usual']:.0f}",
            "liked": percent(night["liked"]["day"]),
            "liked_training": percent(night["liked"]["training"]),
            "moved": sum(column["moved"] for column in night["columns"]),
        }
        for night in found
    ]
    return table("nights", "Nights", _NIGHTS, rows)
