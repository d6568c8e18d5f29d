"""Reads deliveries with the code that reads raw files, and records what was merged."""

from pathlib import Path

from nightreel.core.logs import get_logger
from nightreel.core.settings.needs import LogNeeds
from pipelines.ingest.deliveries import Delivery
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.ingest_records import DeliveryRecord
from pipelines.ingest.output import rejects_path
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.sources import scratch_folder, source_of
from pipelines.ingest.summary import reasons
from pipelines.ingest.tables import Table, read_table
from pipelines.ingest.work import Work

_log = get_logger(__name__)


def read_delivery(
    path: Path, file: RawFile, settings: LogNeeds, ids: HomeIds | None = None
) -> tuple[Table, list[str]]:
    """A delivery's typed rows and rejects, by the code that reads raw files, and the columns that it has.

    Args:
        ids: those of the home; None when only looking at a file: the codes of text ids then mean nothing.

    Raises:
        InputError: if it is refused as a raw file would be.
    """
    with scratch_folder(settings.paths) as scratch:
        source = source_of(path, file, settings.data, scratch)
        names = [column.name for column in source.present.columns]
        if ids is None:
            ids = HomeIds.unsaved(settings)
            ids.recognise([source])
        return read_table(source, settings.data.zone, ids, lambda _bytes: None), names


def delivered(table: Table, delivery: Delivery, work: Work, *, added: int) -> DeliveryRecord:
    """Write the rejects of a delivery that is merged, and give its record.

    Args:
        added: the rows that were new or changed.
    """
    if table.rejects.height:
        table.rejects.write_parquet(work.output.new(rejects_path(work.output.rejects, delivery.path)))
    status = delivery.path.stat()
    work.advance(status.st_size)
    _log.info("delivery merged", file=delivery.path.name, rows=table.frame.height, added=added)
    return DeliveryRecord(
        name=delivery.path.name,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        arrived=delivery.arrived.isoformat(),
        rows=table.frame.height,
        added=added,
        why=reasons(table.rejects),
    )
