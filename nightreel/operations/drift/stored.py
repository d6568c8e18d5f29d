"""The drift of past nights: a small JSON file a night, `drift/<day>.json` in the home's data."""

import json
from datetime import date
from pathlib import Path
from typing import TypedDict

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings import Paths


class ColumnDrift(TypedDict):
    """How far the day's values of a feature or score are from those of the training window.

    Attributes:
        index: population stability index, less what chance gives.
        missing, missing_training: shares of missing values.
        unknown: share of values that are categories unknown from training.
    """

    name: str
    index: float
    missing: float
    missing_training: float
    unknown: float
    moved: bool


class PlaysDrift(TypedDict):
    """Plays of the day, and the median of the days before."""

    day: int
    usual: float
    moved: bool


class LikedDrift(TypedDict):
    """Share of liked plays, of the day and of the training window."""

    day: float
    training: float
    moved: bool


class DriftNight(TypedDict):
    """A day's plays beside those that trained the champion.

    Attributes:
        night: the local day, ISO.
        inputs: digest of what was compared: the same again is skipped.
    """

    night: str
    model_version: str
    inputs: str
    columns: list[ColumnDrift]
    plays: PlaysDrift
    liked: LikedDrift
    remarks: list[str]


_KEPT = 400
_NIGHTS = "????-??-??.json"


def save(paths: Paths, day: date, night: DriftNight) -> Path:
    """Store a day's figures, replacing earlier ones of that day, and remove the oldest beyond 400."""
    path = folder(paths) / f"{day}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(night, indent=1), encoding="utf-8")
    for old in sorted(folder(paths).glob(_NIGHTS))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def nights(paths: Paths, *, most: int = 1) -> list[DriftNight]:
    """The `most` newest nights, newest first. Raises InputError if a file is not as written."""
    return [_read(path) for path in sorted(folder(paths).glob(_NIGHTS), reverse=True)[:most]]


def before(paths: Paths, day: date) -> DriftNight | None:
    """The newest night before this day; None if there is none."""
    older = [path for path in sorted(folder(paths).glob(_NIGHTS)) if path.stem < str(day)]
    return _read(older[-1]) if older else None


def training_file(paths: Paths, version: str) -> Path:
    """The file with the distributions of a model version's training window."""
    return folder(paths) / f"training-{version}.json"


def folder(paths: Paths) -> Path:
    """Where each night's comparison is kept."""
    return paths.data / "drift"


def _read(path: Path) -> DriftNight:
    try:
        night: DriftNight = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(night, dict) or not night.keys() >= DriftNight.__required_keys__ - {"inputs"}:
            raise ValueError("it lacks what a night has")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable: {error}.", "Remove the file; the next night continues."
        ) from None
    return night
