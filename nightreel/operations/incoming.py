"""Archives deliveries in `raw_dir/incoming` for ingest to merge; raw files are never written to.

A delivery is checked by ingest's own code and then archived by one rename, which also records when it
arrived: if
the process is killed at any instant, the delivery is either still waiting or archived, once. A delivery that
cannot be read goes into quarantine with its reason, and any other file there is named in the remarks.
"""

import stat
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from nightreel.core.disk import disk_full, is_disk_full, size_of
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.logs import get_logger
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import LogNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines.ingest import read_delivery
from pipelines.ingest.deliveries import (
    ARCHIVE,
    KINDS,
    QUARANTINE,
    archived_name,
    delivered_after,
    fitting_name,
    kind_of,
    next_arrival,
    own_name,
    stamp_anew,
)
from pipelines.ingest.formats import ending_of
from pipelines.ingest.ids import remedy_for
from pipelines.ingest.mapping import files_given
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import INCOMING, find_raw_folder, raw_path
from pipelines.ingest.reject_columns import LINE, REASON
from pipelines.ingest.tables import DUPLICATE
from pipelines.ingest.unread import printable, shortened, unread_deliveries
from pipelines.known import deliveries_after

# What reading a file may raise; the night then continues with the other files.
_BAD_FILE = (
    NightreelError,
    OSError,
    ValueError,
    ArithmeticError,
    pl.exceptions.PolarsError,
    pa.ArrowException,
)

_log = get_logger(__name__)
# The remedy where too many rows of a file are bad.
REPAIR = "Repair them and drop the file again; or raise max_reject_share."


class DeliveryFacts(Facts):
    """How many files were waiting, and how many good rows the archived ones have."""

    files: int
    rows: int

    @property
    def rows_written(self) -> int:
        """Number of those rows."""
        return self.rows


def merge_deliveries(settings: LogNeeds) -> StepResult[DeliveryFacts]:
    """Archive every file of a known format in `raw_dir/incoming` whose name begins with that of a raw file.

    If there is no raw file of that kind yet, the first delivery becomes it. Archived files go to
    `incoming/taken`, bad ones to `incoming/set_aside` with a `.reason.txt`; the summary's `remarks` name what
    was left out or is not read. Files whose names begin with a dot are not complete yet and are ignored.
    """
    folder = settings.data.raw_dir / INCOMING
    try:
        files = _waiting(folder)
        unread = shortened(unread_deliveries(settings.data.raw_dir))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}.", "Let this user read and write the folder.") from None
    for line in unread:
        _log.warning("not read", file=line)
    remarks = _stamped_anew(settings.data)
    wrote: list[Path] = []
    rows = 0
    for path in files:
        name = printable(path.name)
        try:
            archived, good, said = _take(path, settings)
        except _BAD_FILE as error:
            if is_disk_full(error):
                # Nothing is wrong with the file: it waits for a night with room.
                raise disk_full(folder, error, needed_bytes=size_of(path)) from error
            remarks.append(_quarantine(path, _reason(error)))
            _log.warning("delivery quarantined", file=name, reason=_reason(error))
            continue
        if said:
            remarks.append(f"{name}: {said}")
        if archived is not None:
            wrote.append(archived)
            rows += good
            _log.info("delivery archived", file=name, rows=good)
    facts = DeliveryFacts(files=len(files), rows=rows, remarks=(*remarks, *unread))
    return StepResult(MERGE_DELIVERIES.name, not files, tuple(files), tuple(wrote), facts)


def _stamped_anew(settings: DataSettings) -> list[str]:
    """Date deliveries of a clock that was ahead as of now; returns remarks."""
    now = datetime.now(UTC)
    if not delivered_after(settings.raw_dir, now):
        return []
    try:
        stamped = stamp_anew(settings, now)
    except OSError as error:
        _log.warning("delivery of after now", reason=error.strerror)
        return [f"deliveries from after now cannot be stamped again: {error.strerror}"]
    remarks = [
        f"{printable(one.path.name)} was stamped {one.arrived:%Y-%m-%d %H:%M} UTC, after now: it counts as "
        f"arrived {arrived:%Y-%m-%d %H:%M} UTC"
        for one, arrived in stamped
    ]
    remarks += deliveries_after(settings, now)
    for remark in remarks:
        _log.warning("delivery of after now", delivery=remark)
    return remarks


def say_what_waits(settings: DataSettings) -> None:
    """Log a warning if files wait in `incoming`, which only a night merges."""
    if files := _waiting(settings.raw_dir / INCOMING):
        _log.warning(
            "files wait in incoming and are not read: a night does so, as by `nightreel schedule --once`",
            files=len(files),
            folder=str(settings.raw_dir / INCOMING),
        )


def _waiting(folder: Path) -> list[Path]:
    """The files of known formats, oldest first: of two records of one key the later delivery stays."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else []:
        status = path.lstat()
        is_known = ending_of(path.name) is not None and not path.name.startswith(".")
        if is_known and not stat.S_ISDIR(status.st_mode):
            found.append((status.st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]


def _take(path: Path, settings: LogNeeds) -> tuple[Path | None, int, str]:
    """Check a file and archive it: its new path, the number of its good rows, and remarks on the others.

    None if it was still being written. Raises one of _BAD_FILE if it belongs in quarantine.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise InputError("not a file of its own, but a link or a device.", "Deliver the file itself.")
    name = own_name(path.name, settings.data)
    file = kind_of(name)
    if file is None:
        names = ", ".join(Path(kind.name).stem for kind in KINDS)
        raise InputError(f"{printable(path.name)}: unknown kind.", f"Let its name begin with one of {names}.")
    before = path.stat()
    good, said = _check(path, file, settings)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None, 0, "still being written; the next night reads it"
    raw = None if files_given(file, settings.data) is not None else raw_path(_raw_folder(settings.data), file)
    if raw is not None and not raw.exists():
        return path.rename(raw.with_suffix(ending_of(path.name) or raw.suffix)), good, said
    archive = path.parent / ARCHIVE
    archive.mkdir(exist_ok=True)
    arrived = next_arrival(settings.data.raw_dir, datetime.now(UTC))
    return path.rename(archive / archived_name(name, arrived)), good, said


def _check(path: Path, file: RawFile, settings: LogNeeds) -> tuple[int, str]:
    """The number of good rows, and remarks on the others."""
    table, _ = read_delivery(path, file, settings)
    bad = table.rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = table.frame.height + table.rejects.height
    if not bad.height:
        return table.frame.height, ""
    first = bad.row(0, named=True)
    said = f"{bad.height} of {rows} rows rejected; line {first[LINE]}: {first[REASON]}"
    if bad.height > settings.data.max_reject_share * rows:
        raise InputError(
            f"{said}.",
            REPAIR + remedy_for(settings.data, first[REASON]),
        )
    return table.frame.height, said


def _raw_folder(settings: DataSettings) -> Path:
    """The folder of the raw files, which need not exist yet."""
    try:
        return find_raw_folder(settings.raw_dir)
    except InputError:
        return settings.raw_dir


def _reason(error: Exception) -> str:
    if isinstance(error, NightreelError):
        return str(error)
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or type(error).__name__}."
    return f"it cannot be read: {type(error).__name__}: {error}."


def _quarantine(path: Path, reason: str) -> str:
    """Move a bad file into quarantine with its reason beside it; returns the remark."""
    name = printable(path.name)
    folder = path.parent / QUARANTINE
    try:
        folder.mkdir(exist_ok=True)
        moved = path.rename(_free(folder, path))
        beside = folder / fitting_name(f"{moved.name}.reason.txt", ".reason.txt")
        beside.write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        return f"{name} is not read and cannot be quarantined ({error.strerror}): {reason}"
    return f"{name} was quarantined: {reason}"


def _free(folder: Path, path: Path) -> Path:
    """A name that is free in the folder."""
    target, number = folder / path.name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = folder / fitting_name(f"{path.stem}.{number}{path.suffix}", path.suffix)
    return target


MERGE_DELIVERIES: Step[DeliveryFacts] = Step(
    name="deliveries",
    does="Check what was dropped in `incoming`, and archive it for ingest to merge.",
    reads=lambda settings: (settings.data.raw_dir / INCOMING,),
    writes=lambda settings: (
        settings.data.raw_dir / INCOMING / ARCHIVE,
        settings.data.raw_dir / INCOMING / QUARANTINE,
    ),
    settings=("data.max_reject_share",),
    facts=DeliveryFacts,
    run=lambda settings, _: merge_deliveries(settings),
)
