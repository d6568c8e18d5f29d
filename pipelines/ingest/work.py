"""The context that every part of an ingest gets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightreel.core.settings.needs import LogNeeds
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.output import Output


@dataclass(frozen=True)
class Work:
    """One run of ingest.

    Attributes:
        scratch: a folder for data that do not fit into memory; it is removed afterwards.
        advance: called with the number of bytes read since the last call.
    """

    settings: LogNeeds
    output: Output
    ids: HomeIds
    scratch: Path
    advance: Callable[[float], None]
