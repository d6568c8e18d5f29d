"""A home, and raw files, at a URL: fetched to a working folder before a step, sent back after it.

This copies whole files and is not a filesystem. Every step works on this machine's disk.

- A home at a URL consists of objects that never change, `files/<name>.<digest>`, and `home.json`, which says
  which of them make up the home now. Sending writes new objects first and `home.json` last, in one request,
  so that a fetch at any time gets one complete state. Objects of the previous state stay for fetches in
  progress; older ones are removed.
- SQLite files are sent as a copy that SQLite makes, so that readers and a write-ahead log do no harm.
- Raw files are at their URL, unchanged; each is replaced as a whole. Merged deliveries are removed last.
- One machine works on a home at a time: it holds a lease (nightreel/core/lease.py), whose number the manifest
  bears.
"""

import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.lease import Lease
from nightreel.core.logs import progress
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import MirrorNeeds
from nightreel.core.storage import Folder

_MANIFEST, _OBJECTS = "home.json", "files"
_KNOWN = Path("data/state/mirror.json")
_RAW_KNOWN = Path("data/state/raw_mirror.json")
# Files that are not sent: locks, journals of databases, and files that a cluster's nodes exchange.
_OWN_SUFFIXES = ("-wal", "-shm", "-journal", ".lock", "heartbeat.json")
_OWN_FOLDERS = ("data/shared", "data/replay")
_SQLITE = b"SQLite format 3\0"

_Entry = dict[str, Any]


def fetch(settings: MirrorNeeds) -> None:
    """Update the working folder and raw_dir from their URLs; does nothing without URLs.

    What this machine has and did not send, as after a crash, is kept unless the URL has a newer state.
    """
    if settings.home_url is not None:
        _fetch_home(Folder(settings.home_url), settings.home)
    if settings.data.raw_url is not None:
        _fetch_raw(Folder(settings.data.raw_url), settings.paths, settings.data)


def send(settings: MirrorNeeds, lease: Lease | None = None) -> None:
    """Send changes of the home and raw_dir to their URLs; does nothing without URLs.

    Args:
        lease: on the home, if others may want to work on it.

    Raises:
        NightreelError: the lease has run out; the home at its URL is then as it was.
    """
    if lease is not None:
        lease.require()
    if settings.data.raw_url is not None:
        _send_raw(Folder(settings.data.raw_url), settings.paths, settings.data)
    if settings.home_url is not None:
        _send_home(Folder(settings.home_url), settings.paths, settings.data, lease)


def _fetch_home(remote: Folder, home: Path) -> None:
    there, known = _remote_manifest(remote), _read_json(home / _KNOWN)
    if there is None or there["generation"] == known.get("generation"):
        return
    files: dict[str, _Entry] = there["files"]
    objects = (entry["object"] for entry in files.values())
    _require_inside(remote, (*files, *objects, *known.get("files", {})))
    asked = {
        name: entry
        for name, entry in files.items()
        if _stamp(home / name) != (entry["size"], entry["mtime_ns"])
    }
    with progress("fetch the home", total=max(1, len(asked))) as advance:
        for name, entry in asked.items():
            _fetch_file(remote, entry, home / name)
            # The copy of a SQLite file is of another size than the file that was copied.
            entry["size"] = (home / name).stat().st_size
            advance()
    for name in set(known.get("files", {})) - set(files):
        (home / name).unlink(missing_ok=True)
    _write_json(home / _KNOWN, there)


def _send_home(remote: Folder, paths: Paths, settings: DataSettings, lease: Lease | None) -> None:
    home = paths.home
    before: dict[str, _Entry] = _read_json(home / _KNOWN).get("files", {})
    files: dict[str, _Entry] = {}
    changed = []
    for name in _files(home, without=_inside(settings.raw_dir, home)):
        entry, stamp = before.get(name), _stamp(home / name)
        if entry is not None and stamp == (entry["size"], entry["mtime_ns"]):
            files[name] = entry
        else:
            changed.append(name)
    if not changed and files.keys() == before.keys():
        return
    with progress("send the home", total=max(1, len(changed))) as advance:
        for name in changed:
            files[name] = _send_file(remote, home, name)
            advance()
    old = _remote_manifest(remote) or {}
    manifest: dict[str, Any] = {"generation": uuid.uuid4().hex, "files": files}
    if lease is not None:
        lease.require()
        manifest["lease"] = lease.number
    remote.write(_MANIFEST, json.dumps(manifest, indent=1).encode())
    _write_json(home / _KNOWN, manifest)
    needed = {entry["object"] for state in (manifest, old) for entry in state.get("files", {}).values()}
    for name in remote.below(_OBJECTS).stamps():
        if f"{_OBJECTS}/{name}" not in needed:
            remote.remove(f"{_OBJECTS}/{name}")


def _send_file(remote: Folder, home: Path, name: str) -> _Entry:
    file = home / name
    size, mtime_ns = _stamp(file) or (0, 0)
    with TemporaryDirectory(prefix="nightreel-send-") as folder:
        sent = _sqlite_copy(file, Path(folder)) if _is_sqlite(file) else file
        location = f"{_OBJECTS}/{name}.{_digest(sent)}"
        remote.put(sent, location)
    return {"object": location, "size": size, "mtime_ns": mtime_ns}


def _fetch_file(remote: Folder, entry: _Entry, file: Path) -> None:
    """Fetch an object. Raises NightreelError, with the file left alone, where it is not as it was sent."""
    temporary = file.with_name(f".partial-{file.name}")
    try:
        remote.get(entry["object"], temporary)
        if not entry["object"].endswith(f".{_digest(temporary)}"):
            raise NightreelError(
                f"{remote.location}/{entry['object']}: not as it was sent (its digest differs).",
                f"Restore it from a backup; or remove {_MANIFEST} there: the next run makes the home again.",
            )
        os.utime(temporary, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(len(_SQLITE)) == _SQLITE


def _sqlite_copy(file: Path, folder: Path) -> Path:
    copy = folder / "copy"
    source, target = sqlite3.connect(file), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return copy


def _fetch_raw(remote: Folder, paths: Paths, settings: DataSettings) -> None:
    known = _read_json(paths.home / _RAW_KNOWN)
    there = remote.stamps()
    _require_inside(remote, (*there, *known))
    asked = {
        name: stamp
        for name, stamp in there.items()
        if list(stamp) != known.get(name, {}).get("there") or not (settings.raw_dir / name).is_file()
    }
    with progress("fetch raw files", total=max(1, len(asked))) as advance:
        for name, (size, mtime_ns) in asked.items():
            file = settings.raw_dir / name
            remote.get(name, file)
            if mtime_ns:
                os.utime(file, ns=(mtime_ns, mtime_ns))
            known[name] = {"there": [size, mtime_ns], "here": list(_stamp(file) or ())}
            advance()
    for name in set(known) - set(there):
        (settings.raw_dir / name).unlink(missing_ok=True)
        del known[name]
    _write_json(paths.home / _RAW_KNOWN, known)


def _send_raw(remote: Folder, paths: Paths, settings: DataSettings) -> None:
    known = _read_json(paths.home / _RAW_KNOWN)
    here = {name: list(_stamp(settings.raw_dir / name) or ()) for name in _files(settings.raw_dir)}
    changed = [name for name, stamp in here.items() if stamp != known.get(name, {}).get("here")]
    for name in changed:
        remote.put(settings.raw_dir / name, name)
    for name in set(known) - set(here):
        remote.remove(name)
    if changed or set(known) - set(here):
        there = remote.stamps()
        known = {name: {"there": list(there.get(name, ())), "here": stamp} for name, stamp in here.items()}
        _write_json(paths.home / _RAW_KNOWN, known)


def _files(folder: Path, without: str | None = None) -> Iterator[str]:
    """Every file below a folder that is not this machine's own, by its relative name, in order."""
    own = (*_OWN_FOLDERS, *([without] if without else []))
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if (
            file.is_file()
            and not file.name.startswith(".partial-")
            and not name.endswith(_OWN_SUFFIXES)
            and not any(name.startswith(f"{part}/") for part in own)
            and name not in (_KNOWN.as_posix(), _RAW_KNOWN.as_posix())
        ):
            yield name


def _require_inside(remote: Folder, names: Iterable[str]) -> None:
    """Raise InputError for a name that leads out of the folder; call it before anything is written."""
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
            raise InputError(
                f"{remote.location}: holds a file named {name!r}, which leads out of the folder.",
                "Find out who wrote it, and remove it there; nothing was fetched.",
            )


def _inside(folder: Path, home: Path) -> str | None:
    return folder.relative_to(home).as_posix() if home in folder.parents else None


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _remote_manifest(remote: Folder) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(remote.read(_MANIFEST))
    except FileNotFoundError:
        return None
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    Folder(str(path.parent)).write(path.name, json.dumps(value, indent=1).encode())
