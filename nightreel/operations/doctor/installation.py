"""Inspections of Python and of the installed packages."""

import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nightreel.core.extras import (
    INSTALL_SEQUENCE,
    SEQUENCE,
    WITHOUT_SEQUENCE,
    has_sequence,
    require_extras,
    required_extras,
)
from nightreel.core.settings.needs import LogNeeds
from nightreel.operations.doctor.finding import Finding

LOCK_FILE = Path(__file__).resolve().parents[3] / "requirements.lock"
_PYTHON_FROM, _PYTHON_BELOW = (3, 11), (3, 14)
_NAMED_MAX = 5
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+))?"
)


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


def extras(settings: LogNeeds) -> Finding:
    """Whether the extras that the settings need are installed. Raises InputError if not."""
    require_extras(settings)
    needed = required_extras(settings)
    if SEQUENCE in needed and not has_sequence():
        return Finding("extras", "warning", WITHOUT_SEQUENCE, INSTALL_SEQUENCE)
    return Finding("extras", "ok", ", ".join(needed) or "none needed")
