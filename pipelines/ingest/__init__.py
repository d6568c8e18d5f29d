"""Ingest: raw files and deliveries in, validated tables out; rejects are kept with line and reason.

A file that has only grown is read from where it grew; an unchanged one is not read at all; a delivery is read
once. Plays are kept by local day: only the days that new plays belong to are read and written
(docs/decisions/day-partitions.md). Nothing is replaced until a run has succeeded as a whole: a failed ingest
leaves the tables as they were.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl

from nightreel.core.artefacts import atomic_write
from nightreel.core.logs import get_logger, progress
from nightreel.core.play_days import is_day_file
from nightreel.core.settings.needs import ListNeeds, LogNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.ingest.changes import note_changes
from pipelines.ingest.daily_records import take_records
from pipelines.ingest.days_written import DamagedDayError, require_usable_days
from pipelines.ingest.deliveries import KINDS, Delivery, deliveries
from pipelines.ingest.derived import DERIVED, derive_tables
from pipelines.ingest.formats import files_of
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.ingest_records import READING, DeliveryRecord, IngestRecord, read_records, write_records
from pipelines.ingest.mapping import files_given, raw_paths
from pipelines.ingest.merging import Known, arrived_at, with_records
from pipelines.ingest.output import Output, rejects_path
from pipelines.ingest.plan import Plan, plan_files
from pipelines.ingest.raw_files import BIG_MATRIX, EXPOSURES
from pipelines.ingest.reading import delivered, read_delivery
from pipelines.ingest.refusals import refuse_too_many
from pipelines.ingest.reject_columns import REJECT_SCHEMA
from pipelines.ingest.sources import Source, scratch_folder
from pipelines.ingest.summary import IngestFacts, facts_of, located, record_of, size_of
from pipelines.ingest.tables import Table, read_table
from pipelines.ingest.timed_logs import take_log
from pipelines.ingest.unread import unread_files
from pipelines.ingest.warehouse import fetch
from pipelines.ingest.work import Work
from pipelines.segment_columns import segment_columns

__all__ = ["INGEST", "ingest", "read_delivery"]

_log = get_logger(__name__)


def ingest(settings: ListNeeds, *, force: bool = False) -> StepResult[IngestFacts]:
    """Check the raw files and write `data/tables` and `data/rejects`: a parquet file each, plays by day.

    Raises:
        InputError: if a file or column is missing, a file is not a CSV or was cut off, or more than
            max_reject_share of a file's rows are rejected (duplicates do not count). The tables then stay as
            they were. Also if the setting `[lists.shared] segments` names a column that the users' table does
            not have.
    """
    with INGEST.alone(settings), scratch_folder(settings.paths) as scratch:
        try:
            result = _ingest(settings, scratch, force=force)
        except DamagedDayError as error:
            _log.warning("the tables are rebuilt", reason=str(error))
            result = _ingest(settings, scratch, force=True)
        if settings.lists.shared.popular_k:
            # Settings that name users' columns are checked here, before hours of features and models.
            segment_columns(pl.read_parquet(settings.paths.table("users")), settings.lists.shared.segments)
        return result


def _ingest(settings: LogNeeds, scratch: Path, *, force: bool) -> StepResult[IngestFacts]:
    fetch(settings.paths, settings.data)
    of_files = raw_paths(settings.data)
    paths = [part for path in of_files.values() for part in files_of(path)]
    arrived = deliveries(settings.data.raw_dir)
    read = (*(path for path in paths if path.is_file()), *(delivery.path for delivery in arrived))
    unread = unread_files(settings.data)
    for line in unread:
        _log.warning("not read", file=line)
    # Other files there are looked at each time, and are not part of the record.
    remarks = {"remarks": tuple(unread) or None}
    attempt = INGEST.attempt(settings, [*paths, *(delivery.path for delivery in arrived)], force=force)
    if attempt.known is not None:
        of_days = (settings.paths.interactions, settings.paths.video_daily)
        wrote = (*of_days, *sorted(settings.paths.tables.glob("*.parquet")))
        return INGEST.skipped(read, wrote, attempt.known.model_copy(update=remarks))
    ids = HomeIds.of(settings)
    before = {} if force else read_records(settings, ids.tokens)
    plans, missing = plan_files(of_files, arrived, before, settings, scratch)
    if not any(plan.source or plan.new for plan in plans):
        # Nothing is new: written files are missing or damaged.
        for plan in plans:
            require_usable_days(settings.paths.tables / plan.file.table)
    ids.recognise(plan.source for plan in plans if plan.source is not None)
    attempt.begin()
    with (
        atomic_write(settings.paths.rejects) as rejects,
        # The inner folder is the large one, so an error of a full disk names it.
        atomic_write(settings.paths.tables, checksum=True) as tables,
    ):
        tables.mkdir()
        rejects.mkdir()
        output = Output(settings.paths, tables, rejects)
        with progress("ingest", total=sum(plan.new_bytes for plan in plans)) as advance:
            work = Work(settings, output, ids, scratch, advance)
            records = _take_all(plans, work)
        derived = derive_tables(
            [file for file in DERIVED if file in missing],
            output,
            settings,
            # If nothing is new, one of these tables may be damaged.
            only_grown=any(plan.source or plan.new for plan in plans)
            and any(plan.file is BIG_MATRIX and plan.before is not None for plan in plans),
        )
        written = [Path(name) for of_table in derived.written.values() for name in of_table]
        # The ids come first, because the tables mean nothing without them; ids that no table has yet do no
        # harm.
        written += ids.save()
    of_file = {plan.file: records[plan.path] for plan in plans}
    # Lists do not depend on exposures, so a replay does not either.
    of_lists = (kind for kind in KINDS if kind in of_file and kind is not EXPOSURES)
    digests = {kind.name: of_file[kind].digest for kind in of_lists}
    note_changes(settings.paths, digests, output.earliest)
    write_records(settings, records, ids.tokens)
    derived.write(settings)
    written += [Path(name) for entry in records.values() for name in entry.written]
    facts = facts_of(of_file, [file for file in of_file if files_given(file, settings.data) is not None])
    facts = facts.model_copy(
        update={
            "recognised": [said for plan in plans for said in plan.recognised] or None,
            "ids": ids.summary or None,
            "not_there": [{"file": file.name, "so": file.without} for file in missing if file.without]
            or None,
        }
    )
    of_days = (settings.paths.interactions, settings.paths.video_daily)
    named = (*of_days, *(path for path in written if not is_day_file(path)))
    result = attempt.finished(read, tuple(sorted(named)), facts, outputs=written)
    return replace(result, facts=facts.model_copy(update=remarks))


def _take_all(plans: list[Plan], work: Work) -> dict[Path, IngestRecord]:
    """The records of all files; logs are read one after the other, the other files beside them.

    Text ids get codes in the order in which they are read, so then all files are read one after the other.
    """
    if work.ids.tokens:
        return {plan.path: _take(plan, work) for plan in plans}
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as beside:
        others = {plan.path: beside.submit(_take, plan, work) for plan in plans if not plan.file.is_log}
        try:
            taken = {plan.path: _take(plan, work) for plan in plans if plan.file.is_log}
        except BaseException:
            for other in others.values():
                other.cancel()
            raise
        taken |= {path: other.result() for path, other in others.items()}
    return {plan.path: taken[plan.path] for plan in plans}


def _take(plan: Plan, work: Work) -> IngestRecord:
    """Read the new rows of a file and of its deliveries, and write its table and rejects."""
    output = work.output
    if plan.before is not None and plan.source is None and not plan.new:
        for name in plan.before.written:
            output.keep(Path(name))
        return plan.before
    if plan.file.is_log:
        return take_log(plan, work)
    if plan.file.is_by_day:
        return take_records(plan, work)
    merged = list(plan.before.delivered) if plan.before is not None else []
    rejects = [rejects_path(output.rejects, Path(entry.name)) for entry in merged]
    if plan.source is not None:
        known, raw = _read_raw(plan, plan.source, work)
    else:
        assert plan.before is not None
        known, raw = output.known(plan.file), plan.before
        rejects.append(rejects_path(output.rejects, plan.path))
    for path in rejects:
        output.keep(path)
    for delivery in plan.new:
        known, entry = _merge(known, delivery, work)
        merged.append(entry)
    files = [plan.path, *(Path(entry.name) for entry in merged)]
    written = output.write(plan.file, known)
    written += [path for file in files if output.new(path := rejects_path(output.rejects, file)).is_file()]
    return raw.with_table({**raw.counted, **size_of(known.table)}, merged, output.stamps(written))


def _read_raw(plan: Plan, source: Source, work: Work) -> tuple[Known, IngestRecord]:
    """The raw file's rows and rejects, those of an earlier ingest included."""
    earlier = None
    kept_rejects = rejects_path(work.output.rejects, plan.path)
    if plan.before is not None:
        is_there = kept_rejects.is_file()
        rejects = pl.read_parquet(kept_rejects) if is_there else pl.DataFrame(schema=REJECT_SCHEMA)
        earlier = Table(work.output.known(plan.file).of_raw_file(), rejects)
    table = read_table(source, work.settings.data.zone, work.ids, work.advance, earlier)
    refuse_too_many(source, table.rejects, table.frame.height, kept_rejects, work.settings.data)
    if table.rejects.height:
        located(table.rejects, source).write_parquet(work.output.new(kept_rejects))
    return Known.first(table.frame), record_of(source, table.rejects)


def _merge(known: Known, delivery: Delivery, work: Work) -> tuple[Known, DeliveryRecord]:
    """The table with a delivery's rows.

    Too many rejects do not matter: it was accepted when it arrived.
    """
    table, given = read_delivery(delivery.path, delivery.file, work.settings, work.ids)
    rows = arrived_at(table.frame, delivery.arrived)
    known, added = with_records(known, rows, given, delivery.file.key)
    return known, delivered(table, delivery, work, added=added)


INGEST: Step[IngestFacts] = Step(
    name="ingest",
    does="Check the raw files and deliveries, and write them as validated tables; rejects are kept.",
    reads=lambda settings: (settings.data.raw_dir,),
    writes=lambda settings: (settings.paths.tables, settings.paths.rejects),
    settings=(*READING, "data.max_reject_share"),
    facts=IngestFacts,
    run=lambda settings, request: ingest(settings, force=request.force),
)
