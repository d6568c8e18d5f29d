"""Makes the table of days from a log's raw file and deliveries, each of which changes only its own days."""

from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.ingest.changes import first_difference, has_changed
from pipelines.ingest.days_written import DaySpill, DaysWritten, by_day
from pipelines.ingest.deliveries import Delivery
from pipelines.ingest.ingest_records import DeliveryRecord, IngestRecord
from pipelines.ingest.merging import Known, add_plays, arrived_at
from pipelines.ingest.output import rejects_path
from pipelines.ingest.plan import Plan
from pipelines.ingest.raw_files import BIG_MATRIX
from pipelines.ingest.reading import delivered, read_delivery
from pipelines.ingest.refusals import ask_which_ratings
from pipelines.ingest.reject_columns import LINE
from pipelines.ingest.rejects_of_days import write_rejects
from pipelines.ingest.schemas import validate
from pipelines.ingest.sources import Source
from pipelines.ingest.summary import record_of
from pipelines.ingest.tables import distinct, read_days
from pipelines.ingest.work import Work


def take_log(plan: Plan, work: Work) -> IngestRecord:
    """Read the new rows of a log, and write their days and the rejects.

    Raises:
        DamagedDayError: a day that is to be added to is not as it was written.
        InputError: the file is refused.
    """
    before, output = plan.before, work.output
    days = DaysWritten(
        output,
        work.settings.paths.tables / plan.file.table,
        rows=before.rows if before is not None else 0,
        raw_rows=before.raw_rows if before is not None else 0,
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
    for delivery in plan.new:
        merged.append(_merge(days, delivery, work))
    if plan.file is BIG_MATRIX and not days.rows:
        raise InputError(f"{plan.path}: no rows.", "Put the interaction log there.")
    written, size = days.finish()
    files = [plan.path, *(Path(entry.name) for entry in merged)]
    written += [path for file in files if output.new(path := rejects_path(output.rejects, file)).is_file()]
    return raw.with_table({**raw.counted, **size}, merged, output.stamps(written), raw_rows=days.raw_rows)


def _read_raw(plan: Plan, source: Source, days: DaysWritten, work: Work) -> IngestRecord:
    """Put the raw file's new rows into their days, and write its rejects.

    A play that a delivery brought earlier and that the raw file now has counts as the raw file's.
    """
    settings, output = work.settings, work.output
    spill = DaySpill(work.scratch, partial(by_day, zone=settings.data.zone))
    rejects = read_days(source, settings.data.zone, work.ids, work.advance, spill)
    repeated, highest = [], 0.0
    touched = spill.days()
    for day in touched:
        now = days.day(day)
        known = Known(now, now.clear()) if now is not None else None
        raw, again = _distinct_plays(source, spill.rows(day), known)
        validate(raw, source.file)
        repeated.append(again)
        if columns.WATCH_RATIO in raw.columns:
            highest = max(highest, raw.select(pl.col(columns.WATCH_RATIO).max()).item() or 0.0)
        whole = Known.first(raw)
        if known is not None:
            whole, _ = add_plays(whole, known.delivered())
            days.raw_rows -= known.of_raw_file().height
        days.raw_rows += raw.height
        days.put(day, whole.table, before=now.height if now is not None else 0)
    of_file = write_rejects(plan, source, rejects, repeated, rows=days.raw_rows, work=work)
    ask_which_ratings(source, highest, settings.data)
    if has_changed(settings.paths, source.file.name, source.header.digest):
        may_differ = touched if plan.before is not None else sorted({*touched, *days.present_days()})
        output.earliest |= _earliest_difference(source.file.name, may_differ, days)
    return record_of(source, of_file)


def _distinct_plays(
    source: Source, rows: pl.DataFrame, known: Known | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A day's plays of the raw file, each once, and the lines of the others (line, reason).

    Args:
        rows: the new ones, with their LINE.
        known: the day as it is so far.
    """
    if known is not None:
        earlier = known.of_raw_file().with_columns(pl.lit(0, dtype=pl.Int64).alias(LINE))
        rows = pl.concat([earlier, rows])
    return distinct(rows, source.file)


def _merge(days: DaysWritten, delivery: Delivery, work: Work) -> DeliveryRecord:
    """Add a delivery's plays to their days.

    Too many rejects do not matter: it was accepted when it arrived.
    """
    table, _ = read_delivery(delivery.path, delivery.file, work.settings, work.ids)
    added = 0
    for day, plays in by_day(arrived_at(table.frame, delivery.arrived), work.settings.data.zone):
        now = days.day(day)
        before = now if now is not None else plays.clear()
        whole, new = add_plays(Known(before, before.clear()), plays)
        if new:
            days.put(day, whole.table, before=before.height, arrived=delivery.arrived)
        added += new
    return delivered(table, delivery, work, added=added)


def _earliest_difference(name: str, days: Iterable[date], written: DaysWritten) -> dict[str, datetime]:
    """When the first play of the raw file happened that is only in the present table or only in the new one.

    By the file's name; empty if there is none, or if the present table cannot be read.

    Args:
        days: those that may differ, ascending.
    """
    present = written.present_days()
    for day in days if present else ():
        before, after = written.present(day), written.day(day)
        if before is None and day in present:
            return {}
        tables = [Known(one, one.clear()).of_raw_file() for one in (before, after) if one is not None]
        if before is None or after is None:
            plays = tables[0][columns.EVENT_TIMESTAMP]
            found = {name: plays[0]} if len(plays) else {}
        else:
            found = first_difference(name, *tables)
        if found:
            return found
    return {}
