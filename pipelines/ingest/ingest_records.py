"""Records of ingested files: an unchanged file is not read again; of a grown one, only what is new is read.

Growth is proved by the digest of the earlier part, which must be the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.checksums import is_usable
from nightreel.core.play_days import is_day_file
from nightreel.core.settings.needs import HomeNeeds
from pipelines.ingest.deliveries import Delivery
from pipelines.ingest.formats import stamp_of

_FILE = "ingest_files.json"
# Settings that say how raw files are read.
READING = (
    "data.time_zone",
    "data.format",
    "data.log",
)


@dataclass(frozen=True)
class DeliveryRecord:
    """A merged delivery: its stamp and arrival, and the numbers of its good rows and of new or changed ones.

    Attributes:
        why: the reasons for rejected rows, each with a count and its first line.
    """

    name: str
    size: int
    modified_ns: int
    arrived: str
    rows: int
    added: int
    why: list[dict[str, Any]]

    def is_of(self, delivery: Delivery) -> bool:
        """Whether the archived file is unchanged since it was merged."""
        status = delivery.path.stat()
        return (delivery.path.name, status.st_size, status.st_mtime_ns) == (
            self.name,
            self.size,
            self.modified_ns,
        )


@dataclass(frozen=True)
class IngestRecord:
    """A raw file as it was ingested, and the table and rejects that it and its deliveries became.

    Attributes:
        size: in bytes.
        digest: SHA-256 of these bytes.
        lines: the number of line ends in them.
        names: its header.
        counted: the numbers of rows, duplicates and rejected rows.
        why: the reasons for rejected rows, each with a count and its first line.
        written: size and modification time (ns) of the table and of the rejects, by which a later run knows
            that they are unchanged.
        raw_rows: of a table of plays, those that the raw file has.
    """

    size: int
    modified_ns: int
    digest: str
    lines: int
    names: list[str]
    counted: dict[str, int | None]
    why: list[dict[str, Any]]
    written: dict[str, list[int]]
    delivered: list[DeliveryRecord] = field(default_factory=list)
    raw_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.counted["rows"] or 0

    def is_same(self, path: Path) -> bool:
        """Whether the raw file is unchanged since it was ingested."""
        return stamp_of(path) == (self.size, self.modified_ns)

    def begins(self, arrived: Sequence[Delivery]) -> bool:
        """Whether what was merged are the first of these deliveries, unchanged."""
        return len(self.delivered) <= len(arrived) and all(
            known.is_of(delivery) for known, delivery in zip(self.delivered, arrived, strict=False)
        )

    def with_table(
        self,
        counted: dict[str, int | None],
        delivered: list[DeliveryRecord],
        written: dict[str, list[int]],
        *,
        raw_rows: int = 0,
    ) -> "IngestRecord":
        """The same raw file with the table that it became."""
        return replace(self, counted=counted, delivered=delivered, written=written, raw_rows=raw_rows)


def read_records(settings: HomeNeeds, ids: Mapping[str, str]) -> dict[str, IngestRecord]:
    """By raw path, the records of files that were ingested with these settings, with unchanged tables.

    Args:
        ids: by name of the text ids, a token of their codes.
    """
    try:
        recorded = json.loads((settings.paths.state / _FILE).read_text(encoding="utf-8"))
        if recorded["settings"] != _settings_digest(settings, ids):
            return {}
        found = {name: _record_of_entry(entry) for name, entry in recorded["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {
        name: entry
        for name, entry in found.items()
        if entry.written == fingerprint_of_files(Path(path) for path in entry.written)
        # Files of old days are checked when they are read.
        and all(is_usable(Path(path)) for path in entry.written if not is_day_file(Path(path)))
    }


def write_records(settings: HomeNeeds, records: Mapping[Path, IngestRecord], ids: Mapping[str, str]) -> None:
    """Record what was ingested, once its tables are in place."""
    files = {str(path): asdict(entry) for path, entry in records.items()}
    with atomic_write(settings.paths.state / _FILE) as temporary:
        temporary.write_text(
            json.dumps({"settings": _settings_digest(settings, ids), "files": files}), "utf-8"
        )


def _record_of_entry(entry: dict[str, Any]) -> IngestRecord:
    delivered = [DeliveryRecord(**one) for one in entry.get("delivered", [])]
    return IngestRecord(**{**entry, "delivered": delivered})


def _settings_digest(settings: HomeNeeds, ids: Mapping[str, str]) -> str:
    return fingerprint(settings=settings.chosen(set(READING)), ids=dict(ids))
