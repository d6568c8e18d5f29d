"""Files among the raw files and in `incoming` that are not read, each with the reason."""

import os
from collections.abc import Iterator
from pathlib import Path

from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings
from pipelines.ingest.deliveries import ARCHIVE, QUARANTINE, kind_of, no_deliveries
from pipelines.ingest.formats import ENDINGS, ending_of
from pipelines.ingest.mapping import files_given
from pipelines.ingest.raw_files import BIG_MATRIX, INCOMING, RAW_FILES, find_raw_folder, raw_path

NAMED_MAX = 20
_WAY = f"deliver it in {INCOMING}/"
_PACKED = {".bz2", ".xz", ".zip", ".7z", ".tar", ".tgz"}
# Names of other files in downloads and homes, which contain no data.
_NO_DATA = {
    "",
    ".bib",
    ".gif",
    ".html",
    ".ipynb",
    ".jpeg",
    ".jpg",
    ".log",
    ".md",
    ".md5",
    ".pdf",
    ".png",
    ".py",
    ".rst",
    ".sh",
    ".sha256",
    ".sql",
    ".svg",
    ".toml",
    ".yaml",
    ".yml",
}
# The file in which `nightreel synthesize` describes the world behind its data.
_SYNTHETIC = {"synthetic.json", "truth"}
_FILES_MAX = 10_000  # entries of a folder beside the raw files that are looked at


def unread_files(settings: DataSettings) -> list[str]:
    """Files that are not read, as lines `path: why`: at most NAMED_MAX, then a line that counts the others.

    Where `[data]` says which files are read, only deliveries are looked at.
    """
    raw_dir = settings.raw_dir
    if files_given(BIG_MATRIX, settings) is not None:
        return shortened(unread_deliveries(raw_dir))
    try:
        folder = find_raw_folder(raw_dir)
    except InputError:
        folder = raw_dir
    return shortened([*unread_deliveries(raw_dir), *_beside_raw_files(raw_dir, folder)])


def unread_deliveries(raw_dir: Path) -> list[str]:
    """Files in `incoming` that will not be ingested, and files in its archive that are not deliveries."""
    folder = raw_dir / INCOMING
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        reason = "" if path.name in (ARCHIVE, QUARANTINE) else _reason(path)
        if reason:
            found.append(f"{printable(f'{INCOMING}/{path.name}')} is not read: {reason}")
    for path, reason in no_deliveries(raw_dir):
        found.append(f"{printable(f'{INCOMING}/{ARCHIVE}/{path.name}')} is not read: {reason}")
    return found


def shortened(lines: list[str]) -> list[str]:
    """The first NAMED_MAX lines, and the number of the others."""
    more = len(lines) - NAMED_MAX
    return lines if more <= 0 else [*lines[:NAMED_MAX], f"{more} more files are not read"]


def printable(name: str) -> str:
    """A file's name as it may be logged, whatever bytes it has."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in name
    )


def _reason(path: Path) -> str:
    """Why a file in `incoming` is not ingested; empty if it is, or is quarantined with its own reason."""
    if path.name.startswith("."):
        return "its name begins with a dot, as of a file that is not yet whole"
    if not path.is_symlink() and path.is_dir():
        return "a folder; move its files up"
    if ending_of(path.name) is not None:
        return ""
    suffix = path.suffix.casefold()
    if suffix in _PACKED:
        return "a packed file; unpack it"
    return f"its name ends with none of {', '.join(ENDINGS)}"


def _beside_raw_files(raw_dir: Path, folder: Path) -> Iterator[str]:
    known = {raw_path(folder, file).name for file in RAW_FILES} if folder.is_dir() else set()
    for parent in dict.fromkeys((folder, raw_dir)):
        for path in sorted(parent.iterdir()) if parent.is_dir() else []:
            if path.name.startswith(".") or path in (raw_dir / INCOMING, folder, *folder.parents):
                continue
            if path.name in _SYNTHETIC and (parent / "synthetic.json").is_file():
                continue
            name = printable(path.relative_to(raw_dir).as_posix())
            if path.is_dir() and parent == folder and path.name in known:
                continue
            if path.is_dir():
                yield from _of_folder(path, name)
            elif kind_of(path.name) is not None and (parent != folder or path.name not in known):
                yield f"{name} is not read: it is not one of the raw files; {_WAY}"
            elif _may_hold_data(path.name) and (parent != folder or path.name not in known):
                yield f"{name} is not read: it is not one of the raw files"


def _of_folder(folder: Path, name: str) -> Iterator[str]:
    """The first file with data of a folder beside the raw files, at any depth, and how many there are."""
    if (folder / "state" / "home.lock").is_file():
        return  # nightreel's own files, if the raw files are in the home
    inside = []
    looked_at = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        inside += [Path(parent, file) for file in sorted(files) if _may_hold_data(file)]
        looked_at += len(files)
        if looked_at > _FILES_MAX:
            break
    if inside:
        first = printable(inside[0].relative_to(folder).as_posix())
        others = f" (and {len(inside) - 1} more there)" if len(inside) > 1 else ""
        yield f"{name}/{first}{others} is not read: a folder beside the raw files; {_WAY}"


def _may_hold_data(name: str) -> bool:
    if name.startswith("."):
        return False
    return kind_of(name) is not None or Path(name).suffix.casefold() not in _NO_DATA
