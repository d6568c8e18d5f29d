"""Model versions on disk, a folder each with a manifest, renamed into place when whole; and the champion.

A version's name is the last day of its data and a digest of its content, so the same data, settings and
seed give the same name. `champion.json` is a pointer: it alone says which version scores.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import digest_of, require_as_written
from nightreel.core.disk import full_disk_named, size_of
from nightreel.core.errors import InputError
from nightreel.core.settings import Paths

MANIFEST = "manifest.json"
CHAMPION = "champion.json"
_FILES = "files"
_VERSION = "version"
_REMEDY = "Run `nightreel train --force` to make it again."


@dataclass(frozen=True)
class ModelVersion:
    """One version: its folder, its name, and its manifest (name and each file's SHA-256 included)."""

    folder: Path
    version: str
    manifest: Mapping[str, Any]

    @property
    def fitted_before(self) -> datetime:
        """The beginning of its holdout (UTC): its rankers were fitted on earlier plays only.

        Raises:
            InputError: the manifest lacks it.
        """
        return self._instant("holdout_from")

    @property
    def last_play(self) -> datetime:
        """The last play of its data (UTC). Raises InputError if the manifest lacks it."""
        return self._instant("last_play")

    @property
    def objective(self) -> str | None:
        """What its lists are trained to predict; None for a version from before there was a choice."""
        return self.manifest.get("objective")

    @property
    def why(self) -> str:
        """Why it has this objective."""
        return str(self.manifest.get("why", "unknown"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The figures of its holdout, by name."""
        found: Mapping[str, Any] = self.manifest["metrics"]
        return found

    def _instant(self, name: str) -> datetime:
        try:
            return datetime.fromisoformat(self.manifest["data"][name])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{self.folder / MANIFEST}: no instant data.{name}.", _REMEDY) from None


def register(
    paths: Paths, write: Callable[[Path], None], *, data_end: date, manifest: Mapping[str, Any]
) -> ModelVersion:
    """Write a version: `write` puts its files in the folder it is given; the manifest is added to them.

    The version becomes visible only when it is complete. An existing version with the same content is kept.

    Args:
        data_end: the last local day of the data, the first part of the name.
        manifest: facts about the model that JSON can hold, without clock times and paths, so that the same
            work gives the same version.
    """
    candidate = paths.models / ".partial-version"
    shutil.rmtree(candidate, ignore_errors=True)
    with full_disk_named(paths.models, needed_bytes=_largest_bytes(paths)):
        return _register(paths, candidate, write, data_end, manifest)


def _register(
    paths: Paths,
    candidate: Path,
    write: Callable[[Path], None],
    data_end: date,
    manifest: Mapping[str, Any],
) -> ModelVersion:
    try:
        candidate.mkdir(parents=True)
        write(candidate)
        files = {path.name: digest_of(path) for path in sorted(candidate.iterdir())}
        content = {**manifest, _FILES: files}
        version = f"{data_end:%Y%m%d}-{_content_digest(content)}"
        text = json.dumps({_VERSION: version, **content}, indent=1, ensure_ascii=False)
        (candidate / MANIFEST).write_text(text, encoding="utf-8")
        folder = paths.models / version
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            candidate.rename(folder)
    finally:
        shutil.rmtree(candidate, ignore_errors=True)
    return find(paths, version)


def find(paths: Paths, version: str) -> ModelVersion:
    """The version of this name, its files checked against their checksums.

    Raises:
        InputError: if it is missing or its files are not as they were written.
    """
    folder = paths.models / version
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such model version.",
            "`nightreel models` lists them; `nightreel train --force` makes a new one.",
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest[_FILES])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / MANIFEST}: missing or damaged.", _REMEDY) from None
    if not _names(version, manifest):
        raise InputError(f"{folder / MANIFEST}: not as it was written (its checksum differs).", _REMEDY)
    for name, expected in files.items():
        path = folder / name
        if not path.is_file() or digest_of(path) != expected:
            raise InputError(f"{path}: missing, or not as it was written (SHA-256 differs).", _REMEDY)
    return ModelVersion(folder, version, manifest)


def version_names(paths: Paths) -> list[str]:
    """The names of all versions on disk, ascending."""
    return sorted(path.parent.name for path in paths.models.glob(f"*/{MANIFEST}"))


def promote(paths: Paths, version: ModelVersion) -> None:
    """Make this version the champion: one rename moves the pointer."""
    with atomic_write(paths.models / CHAMPION, checksum=True) as temporary:
        temporary.write_text(json.dumps({_VERSION: version.version}), encoding="utf-8")


def champion_name(paths: Paths) -> str | None:
    """The champion's name, or None where none was promoted yet.

    Raises:
        InputError: if the pointer file is damaged.
    """
    pointer = paths.models / CHAMPION
    if not pointer.is_file():
        return None
    require_as_written([pointer])
    try:
        return str(json.loads(pointer.read_text(encoding="utf-8"))[_VERSION])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{pointer}: damaged.", _REMEDY) from None


def champion(paths: Paths) -> ModelVersion:
    """The version that scores, its files checked against their checksums.

    Raises:
        InputError: if there is none yet, or it is damaged.
    """
    name = champion_name(paths)
    if name is None:
        raise InputError(f"{paths.models}: no model yet.", "Run `nightreel train` first.")
    return find(paths, name)


def _largest_bytes(paths: Paths) -> int:
    """Size of the largest version, as the next one may have."""
    folders = (paths.models / name for name in version_names(paths))
    return max(map(size_of, folders), default=0)


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return _names(folder.name, manifest) and all(
            digest_of(folder / name) == expected for name, expected in manifest[_FILES].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _names(version: str, manifest: Mapping[str, Any]) -> bool:
    """Whether a version's name belongs to the manifest: it ends in a digest of the content."""
    content = {name: value for name, value in manifest.items() if name != _VERSION}
    return manifest.get(_VERSION) == version and version.endswith(f"-{_content_digest(content)}")


def _content_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
