"""Plans the work of ingest for each raw file: read all of it, only its growth, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightreel.core.logs import get_logger
from nightreel.core.play_days import files_by_day
from nightreel.core.settings.needs import LogNeeds
from pipelines.ingest.deliveries import Delivery
from pipelines.ingest.formats import is_there
from pipelines.ingest.ingest_records import IngestRecord
from pipelines.ingest.mapping import files_given
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import RAW_FILES
from pipelines.ingest.sources import Source, source_of

_log = get_logger(__name__)


@dataclass(frozen=True)
class Plan:
    """The work to do for one raw file.

    Attributes:
        before: the record of its last ingest, if that table can be built on.
        source: the part to read; None if there is nothing to read.
        arrived: its deliveries; those not in before.delivered are to be merged.
    """

    file: RawFile
    path: Path
    before: IngestRecord | None
    source: Source | None
    arrived: tuple[Delivery, ...]

    @property
    def new(self) -> tuple[Delivery, ...]:
        """The deliveries that are not in the table yet."""
        return self.arrived[len(self.before.delivered) if self.before is not None else 0 :]

    @property
    def recognised(self) -> list[dict[str, str]]:
        """What was recognised of its format and of its times."""
        return [self.source.recognised] if self.source is not None and self.source.recognised else []

    @property
    def new_bytes(self) -> int:
        """Bytes to be read."""
        raw = self.source.header.size - self.source.header.start if self.source is not None else 0
        return raw + sum(delivery.path.stat().st_size for delivery in self.new)


def plan_files(
    paths: Mapping[RawFile, Path],
    arrived: list[Delivery],
    before: Mapping[str, IngestRecord],
    settings: LogNeeds,
    scratch: Path,
) -> tuple[list[Plan], list[RawFile]]:
    """The work to do, in order of RAW_FILES, and the missing optional files.

    Required files first, so that a missing one is reported before the big ones are inspected.
    """
    plans, missing = {}, []
    for file in sorted(RAW_FILES, key=lambda file: file.without is not None):
        path = paths[file]
        of_file = tuple(delivery for delivery in arrived if delivery.file is file)
        is_optional = file.without is not None and files_given(file, settings.data) is None
        if is_optional and not of_file and not path.exists() and not path.is_symlink():
            missing.append(file)
            continue
        known = before.get(str(path))
        if known is not None and not known.begins(of_file):
            known = None
        if file.is_by_day and known is not None and not files_by_day(settings.paths.tables / file.table):
            _log.info("rows are kept by local day from now on, and are read once more", table=file.table)
            known = None
        if known is not None and is_there(path) and known.is_same(path):
            plans[file] = Plan(file, path, known, None, of_file)
            continue
        # The table does not tell which of its rows the raw file's new rows would replace.
        resumable = known if known is not None and not (file.key and known.delivered) else None
        source = source_of(path, file, settings.data, scratch, resumable)
        header = source.header
        plans[file] = Plan(file, path, resumable if header.start else None, source, of_file)
    return [plans[file] for file in RAW_FILES if file in plans], missing
