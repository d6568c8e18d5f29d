"""Takes in what was dropped in `raw_dir/incoming`: each file is checked, then its rows join the raw files.

A raw file is replaced whole or not at all, and what it has already is not added again: a file that is taken
twice, or half-way before a crash, changes nothing. A file that is bad is set aside with its reason.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from nightreel.artefacts import StepResult, written_whole
from nightreel.errors import InputError
from nightreel.logs import get_logger
from nightreel.settings import Settings
from pipelines.ingest.csv_reading import LINE, REASON, inspect_csv, read_batches
from pipelines.ingest.raw_files import (
    BIG_MATRIX,
    CAPTIONS,
    ITEM_DAILY,
    USER_FEATURES,
    RawFile,
    find_raw_folder,
    present_columns,
)
from pipelines.ingest.tables import DUPLICATE, Source, read_table

INCOMING, TAKEN, SET_ASIDE = "incoming", "taken", "set_aside"
_KINDS = (BIG_MATRIX, ITEM_DAILY, USER_FEATURES, CAPTIONS)

_log = get_logger(__name__)


def take_in(settings: Settings) -> StepResult:
    """Add the rows of every `*.csv` in `raw_dir/incoming` to the raw file whose name its own begins with.

    A play is added where the raw file has not the same row; a daily record, user or video replaces the one of
    its key. Taken files go to `incoming/taken`, bad ones to `incoming/set_aside` with a `.reason.txt`; the
    summary's `remarks` say what was left out. Names that begin with a dot are files not yet whole.
    """
    folder = settings.raw_dir / INCOMING
    files = _waiting(folder)
    target = _raw_folder(settings)
    remarks: list[str] = []
    wrote: list[Path] = []
    rows = 0
    for path in files:
        try:
            kind = _kind(path)
            delivered, rejected = _read(path, kind, settings)
            added = _add(delivered, kind, target / kind.name)
        except InputError as error:
            _set_aside(path, str(error))
            remarks.append(f"{path.name} was set aside: {error}")
            _log.warning("file set aside", file=path.name, reason=str(error))
            continue
        _move(path, folder / TAKEN)
        if rejected:
            remarks.append(f"{path.name}: {rejected}")
        if added:
            wrote.append(target / kind.name)
        rows += added
        _log.info("file taken in", file=path.name, rows=len(delivered), added=added)
    summary = {"files": len(files), "rows": rows, "remarks": remarks}
    return StepResult("take in", not files, tuple(files), tuple(dict.fromkeys(wrote)), summary)


def _waiting(folder: Path) -> list[Path]:
    """Oldest first, so that of two records of one key the later delivery stays."""
    found = [path for path in folder.glob("*.csv") if path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _raw_folder(settings: Settings) -> Path:
    """Where the raw files lie: as ingest will find them, once nothing waits in `incoming` any more."""
    try:
        found = find_raw_folder(settings.raw_dir)
    except InputError:
        found = settings.raw_dir / INCOMING
    if found != settings.raw_dir / INCOMING:
        return found
    # A delivery stands in the way of finding them, or is the first one and makes them.
    places = {path.parent for path in settings.raw_dir.glob(f"*/{BIG_MATRIX.name}")} - {found}
    return places.pop() if len(places) == 1 else settings.raw_dir


def _kind(path: Path) -> RawFile:
    for kind in _KINDS:
        if path.name.startswith(Path(kind.name).stem):
            return kind
    names = ", ".join(Path(kind.name).stem for kind in _KINDS)
    raise InputError(f"{path.name}: what is it?", f"Let its name begin with one of {names}.")


def _read(path: Path, kind: RawFile, settings: Settings) -> tuple[pl.DataFrame, str]:
    """The file's good rows, every column as text, and what is to be said of the others.

    Raises InputError where ingest would refuse the file.
    """
    header = inspect_csv(path)
    source = Source(path, kind, present_columns(kind, header.names, path), header)
    table = read_table(source, settings.zone, lambda _bytes: None)
    bad = table.rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = table.frame.height + table.rejects.height
    said = ""
    if bad.height:
        first = bad.row(0, named=True)
        said = f"{bad.height} of {rows} rows rejected; line {first[LINE]}: {first[REASON]}"
    if bad.height > settings.max_reject_share * rows:
        raise InputError(f"{said}.", "Repair them and drop the file again; or raise max_reject_share.")
    lines = table.rejects[LINE].to_list()
    batches = [batch.rows.filter(~pl.col(LINE).is_in(lines)) for batch in read_batches(path, header)]
    return pl.concat(batches).drop(LINE), said


def _add(delivered: pl.DataFrame, kind: RawFile, raw: Path) -> int:
    """Add to the raw file what it has not, or replace by key; returns the rows that are new or different."""
    if not delivered.height:
        return 0
    if not raw.is_file():
        _write(raw, [delivered], delivered.columns)
        return delivered.height
    header = inspect_csv(raw)
    # Columns that the raw file does not have are of no use to it.
    shared = [name for name in header.names if name in delivered.columns]
    new = delivered.select(shared)
    for batch in read_batches(raw, header):
        new = new.join(batch.rows, on=shared, how="anti", nulls_equal=True)
    if not new.height:
        return 0
    old: Iterable[pl.DataFrame] = (batch.rows.drop(LINE) for batch in read_batches(raw, header))
    if kind.key:
        old = (rows.join(new, on=list(kind.key), how="anti", nulls_equal=True) for rows in old)
    _write(raw, _then(old, new), header.names)
    return new.height


def _then(old: Iterable[pl.DataFrame], new: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from old
    yield new


def _write(path: Path, parts: Iterable[pl.DataFrame], names: list[str]) -> None:
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            file.write((",".join(names) + "\n").encode())
            for part in parts:
                absent = [pl.lit(None, dtype=pl.String).alias(n) for n in names if n not in part.columns]
                part.with_columns(absent).select(names).write_csv(file, include_header=False)
        if path.exists():
            shutil.copymode(path, temporary)


def _set_aside(path: Path, reason: str) -> None:
    moved = _move(path, path.parent / SET_ASIDE)
    moved.with_name(f"{moved.name}.reason.txt").write_text(f"{reason}\n", encoding="utf-8")


def _move(path: Path, folder: Path) -> Path:
    """Into the folder, under a name that is free there."""
    folder.mkdir(exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}.{number}{path.suffix}"
    return path.rename(target)
