"""Ingest: raw files and deliveries in, validated tables out; rejects are kept with line and reason.

A file that only grew since the last time is read from where it grew; one that has not changed, not at all; a
delivery is read once. Nothing is replaced until a run has succeeded as a whole: a failed ingest leaves the
tables as they were.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.logs import get_logger, progress
from nightreel.core.settings import Settings
from nightreel.core.steps import Step, StepResult
from pipelines.ingest.changes import first_difference, has_changed, note_changes
from pipelines.ingest.csv_reading import LINE, REASON, REJECT_SCHEMA
from pipelines.ingest.deliveries import KINDS, Delivery, deliveries
from pipelines.ingest.derived import DERIVED, derived
from pipelines.ingest.formats import files_of, is_there
from pipelines.ingest.ids import HomeIds, remedy_for
from pipelines.ingest.mapping import files_given, mapped, raw_paths
from pipelines.ingest.merging import Known, add_plays, merge
from pipelines.ingest.output import Output, rejects_path
from pipelines.ingest.raw_files import BIG_MATRIX, EXPOSURES, RAW_FILES, RawFile
from pipelines.ingest.sources import Source, scratch_folder, source_of
from pipelines.ingest.summary import IngestFacts, counted, facts_of, located, reasons, size_of
from pipelines.ingest.tables import DUPLICATE, Table, read_table
from pipelines.ingest.taken import READING, Delivered, Taken, read_taken, write_taken
from pipelines.ingest.unread import unread_files
from pipelines.ingest.warehouse import fetch

__all__ = ["INGEST", "ingest"]

_REPAIR_SHARE = 0.5

_log = get_logger(__name__)


def ingest(settings: Settings, *, force: bool = False) -> StepResult[IngestFacts]:
    """Check the raw files and write `data/tables` and `data/rejects`, one parquet file each.

    Raises:
        InputError: if a file or column is missing, a file is not a CSV or was cut off, or more than
            max_reject_share of a file's rows are rejected (duplicates do not count). The tables then stay as
            they were.
    """
    with INGEST.alone(settings), scratch_folder(settings) as scratch:
        return _ingest(settings, scratch, force=force)


def _ingest(settings: Settings, scratch: Path, *, force: bool) -> StepResult[IngestFacts]:
    fetch(settings)
    of_files = raw_paths(settings)
    paths = [part for path in of_files.values() for part in files_of(path)]
    arrived = deliveries(settings.data.raw_dir)
    read = (*(path for path in paths if path.is_file()), *(delivery.path for delivery in arrived))
    unread = unread_files(settings)
    for line in unread:
        _log.warning("not read", file=line)
    # What lies beside the files that are read is looked at each time, and is no part of the record.
    remarks = {"remarks": tuple(unread) or None}
    attempt = INGEST.attempt(settings, [*paths, *(delivery.path for delivery in arrived)], force=force)
    if attempt.known is not None:
        wrote = tuple(sorted(settings.paths.tables.glob("*.parquet")))
        return INGEST.skipped(read, wrote, attempt.known.model_copy(update=remarks))
    ids = HomeIds.of(settings)
    before = {} if force else read_taken(settings, ids.tokens)
    plans, missing = _plan(of_files, arrived, before, settings, scratch)
    ids.recognise(plan.source for plan in plans if plan.source is not None)
    attempt.begin()
    taken: dict[Path, Taken] = {}
    with (
        atomic_write(settings.paths.rejects) as rejects,
        # The inner one is named where the disk is full: it is the large one.
        atomic_write(settings.paths.tables, checksum=True) as tables,
    ):
        tables.mkdir()
        rejects.mkdir()
        output = Output(settings, tables, rejects)
        with progress("ingest", total=sum(plan.new_bytes for plan in plans)) as advance:
            for plan in plans:
                taken[plan.path] = _take(plan, output, settings, ids, advance)
        plays = pl.scan_parquet(output.new(settings.paths.table(BIG_MATRIX.table)))
        written = [
            path
            for file in DERIVED
            if file in missing
            for path in output.write(file, derived(mapped(file, settings), plays, settings.data.zone))
        ]
        # First, as the tables mean nothing without them; those that no table has yet do no harm.
        written += ids.save()
    of_file = {plan.file: taken[plan.path] for plan in plans}
    # No list is made of exposures: a replay is the same whatever they say.
    of_lists = (kind for kind in KINDS if kind in of_file and kind is not EXPOSURES)
    digests = {kind.name: of_file[kind].digest for kind in of_lists}
    note_changes(settings.paths, digests, output.earliest)
    write_taken(settings, taken, ids.tokens)
    written += [Path(name) for entry in taken.values() for name in entry.written]
    facts = facts_of(of_file, [file for file in of_file if files_given(file, settings) is not None])
    facts = facts.model_copy(
        update={
            "recognised": [said for plan in plans for said in plan.recognised] or None,
            "ids": ids.summary or None,
            "not_there": [{"file": file.name, "so": file.without} for file in missing if file.without]
            or None,
        }
    )
    result = attempt.finished(read, tuple(sorted(written)), facts, outputs=written)
    return replace(result, facts=facts.model_copy(update=remarks))


@dataclass(frozen=True)
class _Plan:
    """What is to be done for one raw file.

    Attributes:
        before: the record of its last ingest, if that table can be built on.
        source: what is to be read of it; None if nothing is.
        arrived: its deliveries; those not in before.delivered are to be merged.
    """

    file: RawFile
    path: Path
    before: Taken | None
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


def _plan(
    paths: Mapping[RawFile, Path],
    arrived: list[Delivery],
    before: Mapping[str, Taken],
    settings: Settings,
    scratch: Path,
) -> tuple[list[_Plan], list[RawFile]]:
    """What is to be done, in order of RAW_FILES, and the optional files that are not there.

    Required files first, so that what is missing is said before the big ones are looked through.
    """
    plans, missing = {}, []
    for file in sorted(RAW_FILES, key=lambda file: file.without is not None):
        path = paths[file]
        of_file = tuple(delivery for delivery in arrived if delivery.file is file)
        is_optional = file.without is not None and files_given(file, settings) is None
        if is_optional and not of_file and not path.exists() and not path.is_symlink():
            missing.append(file)
            continue
        known = before.get(str(path))
        if known is not None and not known.begins(of_file):
            known = None
        if known is not None and is_there(path) and known.is_same(path):
            plans[file] = _Plan(file, path, known, None, of_file)
            continue
        # What a record of the raw file would have replaced, had it been there, the table does not say.
        resumable = known if known is not None and not (file.key and known.delivered) else None
        source = source_of(path, file, settings, scratch, resumable)
        header = source.header
        plans[file] = _Plan(file, path, resumable if header.start else None, source, of_file)
    return [plans[file] for file in RAW_FILES if file in plans], missing


def _take(
    plan: _Plan, output: Output, settings: Settings, ids: HomeIds, advance: Callable[[float], None]
) -> Taken:
    """Read what is new of a file and of its deliveries, and write its table and rejects."""
    if plan.before is not None and plan.source is None and not plan.new:
        for name in plan.before.written:
            output.keep(Path(name))
        return plan.before
    delivered = list(plan.before.delivered) if plan.before is not None else []
    rejects = [rejects_path(output.rejects, Path(entry.name)) for entry in delivered]
    if plan.source is not None:
        known, raw = _read_raw(plan, plan.source, output, settings, advance, ids=ids)
    else:
        assert plan.before is not None
        known, raw = output.known(plan.file), plan.before
        rejects.append(rejects_path(output.rejects, plan.path))
    for path in rejects:
        output.keep(path)
    for delivery in plan.new:
        known, entry = _merge(known, delivery, output, settings, advance, ids=ids)
        delivered.append(entry)
    if plan.file is BIG_MATRIX and known.table.is_empty():
        raise InputError(f"{plan.path}: no rows.", "Put the interaction log there.")
    files = [plan.path, *(Path(entry.name) for entry in delivered)]
    written = output.write(plan.file, known)
    written += [path for file in files if output.new(path := rejects_path(output.rejects, file)).is_file()]
    return raw.with_table({**raw.counted, **size_of(known.table)}, delivered, output.stamps(written))


def _read_raw(
    plan: _Plan,
    source: Source,
    output: Output,
    settings: Settings,
    advance: Callable[[float], None],
    *,
    ids: HomeIds,
) -> tuple[Known, Taken]:
    """The raw file's rows, with those that deliveries had brought where the table was of use; its rejects."""
    earlier, delivered = None, None
    kept_rejects = rejects_path(output.rejects, plan.path)
    if plan.before is not None:
        before = output.known(plan.file)
        is_there = kept_rejects.is_file()
        rejects = pl.read_parquet(kept_rejects) if is_there else pl.DataFrame(schema=REJECT_SCHEMA)
        earlier, delivered = Table(before.of_raw_file(), rejects), before.delivered()
    table = read_table(source, settings.data.zone, ids, advance, earlier)
    _refuse_too_many(source, table, kept_rejects, settings)
    _ask_which_ratings(source, table, settings)
    if table.rejects.height:
        located(table.rejects, source).write_parquet(output.new(kept_rejects))
    known = Known.first(table.frame)
    if plan.file is BIG_MATRIX and has_changed(settings.paths, source.file.name, source.header.digest):
        before_it = earlier.frame if earlier is not None else output.raw_rows(plan.file)
        output.earliest |= first_difference(source.file.name, before_it, table.frame)
    if delivered is not None:
        known, _ = add_plays(known, delivered)
    return known, Taken(
        size=source.header.stamp[0],
        modified_ns=source.header.stamp[1],
        digest=source.header.digest,
        lines=source.header.lines,
        names=source.header.names,
        counted=counted(table),
        why=reasons(table, source),
        written={},
    )


def read_delivery(
    path: Path, file: RawFile, settings: Settings, ids: HomeIds | None = None
) -> tuple[Table, list[str]]:
    """A delivery's typed rows and rejects, by the code that reads raw files, and the columns that it has.

    Args:
        ids: those of the home; None when only looking at a file: the codes of text ids then mean nothing.

    Raises:
        InputError: if it is refused as a raw file would be.
    """
    with scratch_folder(settings) as scratch:
        source = source_of(path, file, settings, scratch)
        names = [column.name for column in source.present.columns]
        if ids is None:
            ids = HomeIds.unsaved(settings)
            ids.recognise([source])
        return read_table(source, settings.data.zone, ids, lambda _bytes: None), names


def _merge(
    known: Known,
    delivery: Delivery,
    output: Output,
    settings: Settings,
    advance: Callable[[float], None],
    *,
    ids: HomeIds,
) -> tuple[Known, Delivered]:
    """The table with a delivery's rows. Too many rejects do not matter: it was accepted when it arrived."""
    table, given = read_delivery(delivery.path, delivery.file, settings, ids)
    known, added = merge(known, table.frame, given, delivery.arrived, delivery.file)
    if table.rejects.height:
        table.rejects.write_parquet(output.new(rejects_path(output.rejects, delivery.path)))
    status = delivery.path.stat()
    advance(status.st_size)
    _log.info("delivery merged", file=delivery.path.name, rows=table.frame.height, added=added)
    return known, Delivered(
        name=delivery.path.name,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        arrived=delivery.arrived.isoformat(),
        rows=table.frame.height,
        added=added,
        why=reasons(table),
    )


def _ask_which_ratings(source: Source, table: Table, settings: Settings) -> None:
    """Raise InputError where ratings go beyond five stars and nobody has said which of them are liked."""
    if (
        source.file.name != BIG_MATRIX.name
        or settings.data.log is None
        or settings.data.log.columns.rating is None
    ):
        return
    highest = table.frame[columns.WATCH_RATIO].max()
    stars = 5
    is_chosen = "like_threshold" in settings.data.model_fields_set
    if isinstance(highest, float) and highest > stars and not is_chosen:
        raise InputError(
            f"{source.path}: ratings of up to {highest:g}. Above which is a play liked?",
            f"Set [data] like_threshold, like like_threshold = {highest * 0.7:g}, and "
            f"watch_ratio_clip = {highest:g}.",
        )


def _refuse_too_many(source: Source, table: Table, kept: Path, settings: Settings) -> None:
    wrong = table.rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = table.frame.height + table.rejects.height
    if wrong.height > settings.data.max_reject_share * rows:
        with atomic_write(kept) as temporary:
            located(table.rejects, source).write_parquet(temporary)
        first = wrong.row(0, named=True)
        path, line = source.header.text.where(source.path, first[LINE])
        share = wrong.height / rows
        remedy = f"Repair the rows, or allow rejects: [data] max_reject_share = {_rounded_up(share):g}."
        if share > _REPAIR_SHARE:  # to let so many through would be to lose the file
            few = "No row is good" if wrong.height == rows else "Most rows are bad"
            remedy = f"{few}: repair the file, or put the right one there."
        remedy += remedy_for(settings, first[REASON])
        raise InputError(
            f"{path}, {source.header.unit} {line}, {first[REASON]}. {wrong.height} of {rows} rows "
            f"({share:.2%}) are rejected, more than [data] max_reject_share = "
            f"{settings.data.max_reject_share:g}; all of them are in {kept}.",
            remedy,
        )


def _rounded_up(share: float) -> float:
    """The share with few digits, not less than it."""
    digits = 2
    while round(share, digits) < share:
        digits += 1
    return round(share, digits)


INGEST: Step[IngestFacts] = Step(
    name="ingest",
    does="Check the raw files and deliveries, and write them as validated tables; rejects are kept.",
    reads=lambda settings: (settings.data.raw_dir,),
    writes=lambda settings: (settings.paths.tables, settings.paths.rejects),
    settings=(*READING, "data.max_reject_share"),
    facts=IngestFacts,
    run=lambda settings, request: ingest(settings, force=request.force),
)
