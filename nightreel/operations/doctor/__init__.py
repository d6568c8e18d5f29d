"""A list of small inspections of this machine, home and database; each says what it found and what to do.

An inspection only looks: it makes no folder, no database and no schema, so that asking changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from nightreel.core.errors import NightreelError
from nightreel.core.settings import Settings, load_settings, require_home
from nightreel.operations.doctor.finding import Finding
from nightreel.operations.doctor.installation import LOCK_FILE, extras, packages, python
from nightreel.operations.doctor.machine import disk, memory
from nightreel.operations.doctor.made import checksums
from nightreel.operations.doctor.published import database, freshness, outcomes
from nightreel.operations.doctor.raw_files import data_folder, unread

__all__ = [
    "Finding",
    "as_rows",
    "data_folder",
    "database",
    "disk",
    "freshness",
    "inspect_all",
    "is_sound",
    "memory",
    "packages",
    "unread",
]


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
            yield Finding(name, "wrong", f"{type(error).__name__}: {error}.", "Correct that, then ask again.")
