"""A list of small inspections of this machine, home and database; each says what it found and what to do.

An inspection only looks: it makes no folder, no database and no schema, so that asking changes nothing.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nightreel.core import columns
from nightreel.core.checksums import checksum_file, is_lost, lost_files, require_as_written
from nightreel.core.errors import NightreelError
from nightreel.core.extras import require_extras, required_extras
from nightreel.core.settings import DataSettings, Settings, load_settings, require_home
from nightreel.core.settings.needs import DatabaseNeeds, ScheduleNeeds

if TYPE_CHECKING:
    from nightreel.operations.status import Status

State = Literal["ok", "warning", "wrong"]

LOCK_FILE = Path(__file__).resolve().parents[2] / "requirements.lock"
_PYTHON_FROM, _PYTHON_BELOW = (3, 11), (3, 14)
_GIB = 2**30
# What a run of all of KuaiRec wants, and what even the demo does.
_DISK_SCARCE_BYTES, _DISK_FULL_BYTES = 5 * _GIB, _GIB // 2
_MEMORY_SCARCE_BYTES, _MEMORY_SHORT_BYTES = 4 * _GIB, _GIB
_NAMED_MAX = 5
_NEEDED_FILES = (columns.BIG_MATRIX_FILE,)
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+))?"
)


@dataclass(frozen=True)
class Finding:
    """The result of one inspection; `remedy` is empty if all is well."""

    inspection: str
    state: State
    found: str
    remedy: str = ""


def inspect_all(now: datetime | None = None) -> list[Finding]:
    """Every inspection's finding; unreadable settings are a finding, too, and end the list."""
    findings = [python(), packages(LOCK_FILE)]
    try:
        settings = load_settings()
    except NightreelError as error:
        return [*findings, Finding("settings", "wrong", error.message, error.remedy)]
    try:
        require_home(settings)
    except NightreelError as error:
        return [*findings, Finding("settings", "wrong", f"home {error.message}", error.remedy)]
    findings.append(Finding("settings", "ok", f"home {settings.home}"))
    return [*findings, *_of_home(settings, now or datetime.now(UTC))]


def is_sound(findings: list[Finding]) -> bool:
    """Whether nothing is wrong; warnings are allowed."""
    return all(finding.state != "wrong" for finding in findings)


def as_rows(findings: list[Finding]) -> list[dict[str, str]]:
    """The findings as plain mappings, for printing."""
    return [asdict(finding) for finding in findings]


def _of_home(settings: Settings, now: datetime) -> Iterator[Finding]:
    inspections: list[tuple[str, Callable[[], Finding]]] = [
        ("extras", lambda: extras(settings)),
        ("data folder", lambda: data_folder(settings.data)),
        ("unread files", lambda: unread(settings.data)),
        ("checksums", lambda: checksums(settings)),
        ("disk", lambda: disk(settings.home)),
        ("memory", memory),
        ("database", lambda: database(settings)),
        ("freshness", lambda: freshness(settings, now)),
        ("outcomes", lambda: outcomes(settings)),
    ]
    for name, look in inspections:
        try:
            yield look()
        except NightreelError as error:
            yield Finding(name, "wrong", error.message, error.remedy)
        except OSError as error:
            yield Finding(name, "wrong", f"{type(error).__name__}: {error}.", "Mend that, and ask again.")


def python() -> Finding:
    """Whether this Python is one that nightreel is tested on."""
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if _PYTHON_FROM <= sys.version_info[:2] < _PYTHON_BELOW:
        return Finding("python", "ok", found)
    return Finding(
        "python",
        "wrong",
        found,
        "Use Python 3.11 to 3.13: `make clean`, then `make PYTHON=python3.11 install`.",
    )


def packages(lock: Path) -> Finding:
    """Whether the installed packages are those of the lock file or, without it, meet the requirements."""
    remedy = "Install what the lock file names: `make install`, or `pip install -r requirements.lock`."
    if lock.is_file():
        required, differing = _against_lock(lock.read_text(encoding="utf-8"))
        source = lock.name
    else:
        required, differing = _against_metadata()
        source = "nightreel's own requirements (no lock file here)"
    if not differing:
        return Finding("packages", "ok", f"all {required} of {source}")
    named = ", ".join(differing[:_NAMED_MAX]) + (", ..." if len(differing) > _NAMED_MAX else "")
    missing = any(text.endswith("is missing") for text in differing)
    return Finding(
        "packages",
        "wrong" if missing else "warning",
        f"{len(differing)} of {required} are not as in {source}: {named}",
        remedy,
    )


def _against_lock(text: str) -> tuple[int, list[str]]:
    required, differing = 0, []
    for line in text.splitlines():
        pin = _PINNED.match(line)
        if pin is None or (pin["marker"] and not Marker(pin["marker"].strip()).evaluate()):
            continue
        required += 1
        installed = _installed(pin["name"])
        if installed is None:
            differing.append(f"{pin['name']} is missing")
        elif Version(installed) != Version(pin["version"]):
            differing.append(f"{pin['name']} is {installed}, not {pin['version']}")
    return required, differing


def _against_metadata() -> tuple[int, list[str]]:
    asked = [Requirement(text) for text in metadata.requires("nightreel") or []]
    required = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    differing = []
    for requirement in required:
        installed = _installed(requirement.name)
        if installed is None:
            differing.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(installed, prereleases=True):
            differing.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    return len(required), differing


def _installed(name: str) -> str | None:
    try:
        return metadata.version(canonicalize_name(name))
    except metadata.PackageNotFoundError:
        return None


def extras(settings: Settings) -> Finding:
    """Whether the extras that the settings need are installed. Raises InputError if not."""
    require_extras(settings)
    return Finding("extras", "ok", ", ".join(required_extras(settings)) or "none needed")


def data_folder(settings: DataSettings) -> Finding:
    """Whether the required raw files exist and are readable."""
    from pipelines.ingest.formats import stamp_of
    from pipelines.ingest.mapping import files_given
    from pipelines.ingest.raw_files import BIG_MATRIX, RAW_FILES, raw_path

    if files_given(BIG_MATRIX, settings) is not None:
        return _given_files(settings)
    folder = settings.raw_dir
    remedy = (
        "Set [data] raw_dir in nightreel.toml, or NIGHTREEL_DATA_RAW_DIR, to the folder of the CSV files; "
        "`nightreel demo` makes data to try with."
    )
    if not folder.is_dir():
        return Finding("data folder", "wrong", f"{folder}: no such folder.", remedy)
    by_name = {file.name: raw_path(folder, file) for file in RAW_FILES if file.name in _NEEDED_FILES}
    missing = [name for name in _NEEDED_FILES if not by_name[name].exists()]
    if missing:
        return Finding("data folder", "wrong", f"{folder} lacks {', '.join(missing)}.", remedy)
    unreadable = [name for name in _NEEDED_FILES if not os.access(by_name[name], os.R_OK)]
    if unreadable:
        return Finding(
            "data folder",
            "wrong",
            f"{folder}: {', '.join(unreadable)} may not be read by this user.",
            "Give this user leave to read them: `chmod a+r`.",
        )
    size_bytes = sum(stamp_of(path)[0] for path in by_name.values())
    return Finding(
        "data folder", "ok", f"{folder}, {_size(size_bytes)} in the {len(_NEEDED_FILES)} needed files"
    )


def _given_files(settings: DataSettings) -> Finding:
    """Whether the files that the table [data] names are there and readable."""
    from pipelines.ingest.formats import files_of, is_there
    from pipelines.ingest.mapping import files_given, raw_paths

    given = {file: path for file, path in raw_paths(settings).items() if files_given(file, settings)}
    for path in given.values():
        if not is_there(path):
            remedy = "Put it there, or correct the table [data] in nightreel.toml."
            return Finding("data folder", "wrong", f"{path}: no such file.", remedy)
    files = [file for path in given.values() for file in files_of(path)]
    unreadable = [str(file) for file in files if not os.access(file, os.R_OK)]
    if unreadable:
        remedy = "Give this user leave to read them: `chmod a+r`."
        return Finding("data folder", "wrong", f"{unreadable[0]} may not be read by this user.", remedy)
    size_bytes = sum(file.stat().st_size for file in files)
    return Finding("data folder", "ok", f"{len(files)} files of [data], {_size(size_bytes)}")


def unread(settings: DataSettings) -> Finding:
    """Files among the raw files and deliveries that are not read."""
    from pipelines.ingest.unread import unread_files

    lines = unread_files(settings) if settings.raw_dir.is_dir() else []
    if not lines:
        return Finding("unread files", "ok", "none")
    return Finding(
        "unread files",
        "warning",
        "; ".join(lines),
        "Deliver them in a known format, directly in `incoming`; or put them elsewhere.",
    )


def checksums(settings: DatabaseNeeds) -> Finding:
    """Whether the files that lists are made from are as written. Raises InputError if not."""
    from pipelines import model_registry
    from pipelines.known import table_files

    paths = settings.paths
    pointer = paths.models / model_registry.CHAMPION
    features = [*sorted(paths.features.glob("*.parquet")), *lost_files(paths.features)]
    found = [*table_files(paths), *features, paths.registry, pointer]
    there = [path for path in found if path.is_file() or is_lost(path)]
    require_as_written(there)
    if pointer in there:
        model_registry.champion(settings.paths)
    unknown = [path for path in there if not checksum_file(path).is_file()]
    if unknown:
        return Finding(
            "checksums",
            "warning",
            f"{len(unknown)} of {len(there)} have no checksum: an older nightreel wrote them.",
            "Their steps write it; at once: `nightreel ingest --force` and `nightreel features --force`.",
        )
    return Finding("checksums", "ok", f"{len(there)} tables, features and pointers are as they were written")


def disk(home: Path) -> Finding:
    """Whether the home is writable, with enough free space for a night."""
    folder = next(one for one in (home, *home.parents) if one.is_dir())
    if not os.access(folder, os.W_OK):
        return Finding(
            "disk",
            "wrong",
            f"{folder} may not be written by this user.",
            "Change its owner, or choose a --home.",
        )
    free_bytes = shutil.disk_usage(folder).free
    return _enough("disk", f"{_size(free_bytes)} free below {folder}", free_bytes)


def _enough(name: str, found: str, free_bytes: int) -> Finding:
    if free_bytes < _DISK_FULL_BYTES:
        return Finding(name, "wrong", found, "Free some space, or choose a --home on another disk.")
    if free_bytes < _DISK_SCARCE_BYTES:
        return Finding(
            name,
            "warning",
            found,
            "Enough for the demo; all of KuaiRec wants 5 GiB. Lower [database] keep_runs, or free some.",
        )
    return Finding(name, "ok", found)


def memory() -> Finding:
    """Whether there is enough memory for a run, within the container's limit if there is one."""
    try:
        available_bytes = min(psutil.virtual_memory().available, _container_limit_bytes())
    except OSError:
        return Finding("memory", "warning", "not to be found out here.", "Mount /proc to have it checked.")
    found = f"{_size(available_bytes)} available"
    if available_bytes < _MEMORY_SHORT_BYTES:
        return Finding("memory", "wrong", found, "End other programs, or raise the container's memory limit.")
    if available_bytes < _MEMORY_SCARCE_BYTES:
        return Finding("memory", "warning", found, "Enough for the demo; all of KuaiRec wants 4 GiB.")
    return Finding("memory", "ok", found)


def _container_limit_bytes() -> int:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return sys.maxsize
    return int(text) if text.isdecimal() else sys.maxsize


def database(settings: DatabaseNeeds) -> Finding:
    """Whether the lists' database can be read and has this nightreel's schema."""
    from scoring.database.connection import database_exists, database_url, masked, reading
    from scoring.database.schema import SCHEMA_VERSION, recorded_version, require_not_newer

    where = masked(database_url(settings))
    if not database_exists(settings):
        return Finding("database", "warning", f"{where}: not there yet.", "`nightreel run` makes it.")
    with reading(settings) as connection:
        version = recorded_version(connection)
    require_not_newer(version)
    if version is None:
        return Finding(
            "database", "warning", f"{where}: no tables of nightreel yet.", "`nightreel run` makes them."
        )
    if version < SCHEMA_VERSION:
        return Finding(
            "database",
            "wrong",
            f"{where}: schema version {version}, this nightreel's is {SCHEMA_VERSION}.",
            "Run `nightreel db upgrade`; no data is lost.",
        )
    return Finding("database", "ok", f"{where}, schema version {version}")


def freshness(settings: ScheduleNeeds, now: datetime) -> Finding:
    """Whether apps read last night's lists, and no run or job is dated after now."""
    from nightreel.operations.status import status

    said = status(settings, now)
    finding = _freshness(said)
    later = said.facts.get("after_now", [])
    if not later:
        return finding
    clock = (
        f"See that the clock is right: {now:%Y-%m-%d %H:%M} UTC. What a wrong one recorded settles no night."
    )
    return Finding(
        finding.inspection,
        "warning" if finding.state == "ok" else finding.state,
        f"{finding.found}; {'; '.join(later)}",
        f"{finding.remedy} {clock}".strip(),
    )


def _freshness(said: "Status") -> Finding:
    from nightreel.operations.status import DUE, FRESH, REPLAY, STALE_DATA

    shown = said.facts["shown"]
    if shown is None:
        return Finding("freshness", "wrong", "nothing is published yet.", "Run `nightreel run`.")
    found = f"{said.state}: run {shown['run_id']}, published {shown['published_at']:%Y-%m-%d %H:%M} UTC"
    if said.state == FRESH:
        return Finding("freshness", "ok", found)
    if said.state == DUE:
        return Finding("freshness", "ok", f"{found}; tonight's is due and has time")
    if said.state == REPLAY:
        return Finding(
            "freshness",
            "wrong",
            f"{found}, a replay as of {shown['as_of']:%Y-%m-%d %H:%M} UTC",
            "`nightreel rollback RUN_ID` shows another run at once; the next night shows its own list.",
        )
    if said.state == STALE_DATA:
        return Finding(
            "freshness",
            "wrong",
            f"{found}; its newest play is of {shown['newest_play_at']:%Y-%m-%d %H:%M} UTC",
            "See why no newer plays arrive; if none are to come, set [schedule] max_data_age_hours = 0.",
        )
    night = said.facts["night"]
    if night is not None and night["status"] == "done" and night["run_id"] not in (None, shown["run_id"]):
        return Finding(
            "freshness",
            "wrong",
            f"{found}; the last night made run {night['run_id']}, which is not shown",
            f"`nightreel rollback {night['run_id']}` shows it; the next night shows its own list.",
        )
    return Finding(
        "freshness",
        "wrong",
        found,
        "See why with `nightreel status` and `nightreel runs`; `nightreel schedule --once` makes it now.",
    )


def outcomes(settings: DatabaseNeeds) -> Finding:
    """Whether the outcomes of the last nights' lists are within the band of earlier nights."""
    from scoring.database.connection import database_exists, reading
    from scoring.database.schema import SCHEMA_VERSION, recorded_version
    from scoring.outcomes.scorecard import newest_judged

    night = None
    if database_exists(settings):
        with reading(settings) as connection:
            if recorded_version(connection) == SCHEMA_VERSION:
                night = newest_judged(connection)
    if night is None:
        return Finding("outcomes", "ok", "no night's outcome is known yet")
    run = f"run {night.facts['run_id']}"
    if not night.band:
        return Finding("outcomes", "ok", f"{run}: as the nights before it")
    remedy = "See `nightreel scorecard`; whether all plays arrived; and what changed that night."
    return Finding("outcomes", "warning", f"{run}: {'; '.join(night.band)}", remedy)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:,.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / 2**20:,.0f} MiB"
