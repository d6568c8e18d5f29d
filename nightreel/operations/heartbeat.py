"""The heartbeat file, by which a monitor sees that the scheduler lives and whether the list is fresh."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from nightreel.core.artefacts import atomic_write
from nightreel.core.clock import SKEW
from nightreel.core.settings import Paths

HEARTBEAT_S = 15


class Beat(TypedDict):
    """The scheduler's own report: its process, the job that it runs, and the state of the list."""

    pid: int
    host: str
    doing: str | None
    state: str
    out_of_band: NotRequired[list[str]]
    error: NotRequired[str]


class Heartbeat(Beat):
    """The file's content: `at` is when it was written, in ISO 8601; `alive`, added when it is read."""

    at: str
    alive: bool


def heartbeat_file(paths: Paths) -> Path:
    """The file in which the scheduler says that it is alive."""
    return paths.state / "heartbeat.json"


def write_beat(paths: Paths, beat: Beat) -> None:
    """Write the heartbeat file atomically."""
    with atomic_write(heartbeat_file(paths)) as temporary:
        text = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **beat})
        temporary.write_text(text, encoding="utf-8")


def read_heartbeat(paths: Paths, now: datetime) -> Heartbeat | None:
    """The scheduler's last heartbeat, and whether it is recent enough for the scheduler to be alive."""
    try:
        said = json.loads(heartbeat_file(paths).read_text(encoding="utf-8"))
        age = now - datetime.fromisoformat(said["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A heartbeat dated after now was written by a clock that was wrong.
    said["alive"] = -SKEW <= age < timedelta(seconds=4 * HEARTBEAT_S)
    return cast(Heartbeat, said)
