"""A run to publish, and its result."""

from dataclasses import dataclass
from datetime import datetime

from scoring.lists.shared.rows import SharedCounts


@dataclass(frozen=True)
class NewRun:
    """A run to be written: the instant of its features, its model, and a digest of all its inputs.

    Attributes:
        known_at: when the last delivery that it uses had arrived.
        newest_play_at: when the newest play that it uses happened.
        replay: deliberately made for the past.
        show: whether apps will read it; otherwise it is stored.
        arms: of its experiment, in JSON.
    """

    as_of: datetime
    model_version: str
    inputs: str
    known_at: datetime | None = None
    newest_play_at: datetime | None = None
    replay: bool = False
    show: bool = True
    arms: str | None = None


@dataclass(frozen=True)
class Published:
    """A complete and audited run, shown from now on or stored.

    Attributes:
        remarks: a line for each owner's rule that some lists could not keep to.
    """

    run_id: int
    users: int
    rows: int
    remarks: tuple[str, ...] = ()
    shared: tuple[SharedCounts, ...] = ()
