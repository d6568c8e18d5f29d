"""The drift of past nights: a small JSON file a night, `drift/<day>.json` in the home's data."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.settings import Paths

_KEPT = 400
_FACTS = {"night", "model_version", "columns", "plays", "liked", "remarks"}
_NIGHTS = "????-??-??.json"


def save(paths: Paths, day: date, night: Mapping[str, Any]) -> Path:
    """Store a day's figures, replacing earlier ones of that day, and remove the oldest beyond 400."""
    path = folder(paths) / f"{day}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(night, indent=1), encoding="utf-8")
    for old in sorted(folder(paths).glob(_NIGHTS))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def nights(paths: Paths, *, most: int = 1) -> list[dict[str, Any]]:
    """The `most` newest nights, newest first. Raises InputError if a file is not as written."""
    return [_read(path) for path in sorted(folder(paths).glob(_NIGHTS), reverse=True)[:most]]


def before(paths: Paths, day: date) -> dict[str, Any] | None:
    """The newest night before this day; None if there is none."""
    older = [path for path in sorted(folder(paths).glob(_NIGHTS)) if path.stem < str(day)]
    return _read(older[-1]) if older else None


def training_file(paths: Paths, version: str) -> Path:
    """The file with the distributions of a model version's training window."""
    return folder(paths) / f"training-{version}.json"


def folder(paths: Paths) -> Path:
    """Where each night's comparison is kept."""
    return paths.data / "drift"


def _read(path: Path) -> dict[str, Any]:
    try:
        night: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(night, dict) or not night.keys() >= _FACTS:
            raise ValueError("it has not what a night has")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable: {error}.", "Remove the file; the next night goes on."
        ) from None
    return night
