"""Makes the table of videos' daily records: a record changes only the file of its own day."""

from datetime import date
from pathlib import Path

import polars as pl

from nightreel.core import columns
from pipelines.ingest.days_written import DaySpill, DaysWritten, by_date
from pipelines.ingest.deliveries import Delivery
from pipelines.ingest.ingest_records import DeliveryRecord, IngestRecord
from pipelines.ingest.merging import CREATED, Known, arrived_at, with_records
from pipelines.ingest.output import rejects_path, superseded_path
from pipelines.ingest.plan import Plan
from pipelines.ingest.reading import delivered, read_delivery
from pipelines.ingest.reject_columns import LINE
from pipelines.ingest.rejects_of_days import write_rejects
from pipelines.ingest.schemas import empty_table, validate
from pipelines.ingest.sources import Source
from pipelines.ingest.summary import record_of
from pipelines.ingest.tables import distinct, read_days
from pipelines.ingest.work import Work

NO_DAY = date(1970, 1, 1)
"""The day of the one empty file of a table without records; no record can be of it."""


def take_records(plan: Plan, work: Work) -> IngestRecord:
    """Read the new records of a file and of its deliveries, and write their days and the rejects.

    Raises:
        DamagedDayError: a day that is to be changed is not as it was written.
        InputError: the file is refused.
    """
    before, output = plan.before, work.output
    days = DaysWritten(
        output,
        output.tables / plan.file.table,
        rows=before.rows if before is not None else 0,
        keys=(columns.VIDEO_ID,),
    )
    merged = list(before.delivered) if before is not None else []
    kept_rejects = [rejects_path(output.rejects, Path(entry.name)) for entry in merged]
    if plan.source is not None:
        raw = _read_raw(plan, plan.source, days, work)
    else:
        assert before is not None
        raw = before
        kept_rejects.append(rejects_path(output.rejects, plan.path))
    for path in kept_rejects:
        output.keep(path)
    replaced: list[pl.DataFrame] = []
    for delivery in plan.new:
        merged.append(_merge(days, delivery, replaced, work))
    if not days.rows:
        days.put(NO_DAY, Known.first(empty_table(plan.file)).table, before=0)
    written, size = days.finish()
    written += _write_superseded(plan, replaced, work)
    files = [plan.path, *(Path(entry.name) for entry in merged)]
    written += [path for file in files if output.new(path := rejects_path(output.rejects, file)).is_file()]
    return raw.with_table({**raw.counted, **size}, merged, output.stamps(written))


def _read_raw(plan: Plan, source: Source, days: DaysWritten, work: Work) -> IngestRecord:
    """Put the raw file's new rows into their days, and write its rejects, earlier ones included."""
    scratch = work.scratch / plan.file.table
    scratch.mkdir()
    spill = DaySpill(scratch, by_date)
    rejects = read_days(source, work.settings.data.zone, work.ids, work.advance, spill)
    repeated = []
    for day in spill.days():
        rows, now = spill.rows(day), days.day(day)
        if now is not None:
            # Without a delivery: a raw file with some is read as a whole.
            rows = pl.concat([now.drop(CREATED).with_columns(pl.lit(0, dtype=pl.Int64).alias(LINE)), rows])
        records, again = distinct(rows, source.file)
        validate(records, source.file)
        repeated.append(again)
        days.put(day, Known.first(records).table, before=now.height if now is not None else 0)
    of_file = write_rejects(plan, source, rejects, repeated, rows=days.rows, work=work)
    return record_of(source, of_file)


def _merge(days: DaysWritten, delivery: Delivery, replaced: list[pl.DataFrame], work: Work) -> DeliveryRecord:
    """Put a delivery's records into their days.

    Too many rejects do not matter: it was accepted when it arrived.

    Args:
        replaced: gets the records that others have replaced.
    """
    table, given = read_delivery(delivery.path, delivery.file, work.settings, work.ids)
    added = 0
    for day, records in by_date(arrived_at(table.frame, delivery.arrived)):
        now = days.day(day)
        before = now if now is not None else records.clear()
        known, new = with_records(Known(before, before.clear()), records, given, delivery.file.key)
        if new:
            days.put(day, known.table, before=before.height)
            replaced.append(known.superseded)
        added += new
    return delivered(table, delivery, work, added=added)


def _write_superseded(plan: Plan, replaced: list[pl.DataFrame], work: Work) -> list[Path]:
    """Keep what was replaced, with what had been before; returns the final path, if there is any."""
    output = work.output
    path = superseded_path(output.tables, plan.file.table)
    is_kept = plan.before is not None and path.is_file()
    if any(frame.height for frame in replaced):
        kept = [pl.read_parquet(path)] if is_kept else []
        rows = pl.concat([*kept, *replaced]).sort(*plan.file.key, CREATED)
        rows.write_parquet(output.new(path), statistics=True)
    elif is_kept:
        output.keep(path)
    return [path] if output.new(path).is_file() else []
