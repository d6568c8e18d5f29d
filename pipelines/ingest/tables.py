"""Makes a raw file's validated table: joins typed batches, rejects duplicates, sorts and checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.ingest.conversion import convert, raw_text
from pipelines.ingest.csv_inspection import Header
from pipelines.ingest.csv_reading import ends_with_newline, lines_of, read_batches
from pipelines.ingest.days_written import DaySpill
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.local_times import local_times
from pipelines.ingest.mapping import with_values
from pipelines.ingest.quotes import is_swallowing, key_index, opening_line
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import LOCAL_TIME, TIMESTAMP
from pipelines.ingest.reject_columns import LINE, REASON, REJECT_SCHEMA
from pipelines.ingest.schemas import stored_type, table_columns, validate
from pipelines.ingest.sources import Source
from pipelines.local_days import INSTANT

DUPLICATE = "duplicate"
_RATIO_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Table:
    """A validated table, and the rows of its file that are not in it (line, reason, raw)."""

    frame: pl.DataFrame
    rejects: pl.DataFrame


def read_table(
    source: Source,
    zone: ZoneInfo,
    ids: HomeIds,
    advance: Callable[[float], None],
    before: Table | None = None,
) -> Table:
    """Read, type and check one raw file.

    Exact duplicates are rejected as `duplicate`; for a table with a key, so is a second row with its key.

    Args:
        advance: called with the number of bytes read since the last call.
        before: the table of the rows before those to be read; the result is as if the whole file were read.
    """
    file = source.file
    rows = _Rows(source)
    frame = pl.concat(rows.read(zone, ids, advance))
    frame = _completed(frame.filter(~pl.col(LINE).is_in(rows.swallowed())), source, ids)
    rejects = rows.rejects
    if before is not None:
        rejects.append(before.rejects)
        frame = pl.concat([before.frame.with_columns(pl.lit(0, dtype=pl.Int64).alias(LINE)), frame])
    frame, repeated = distinct(frame, file)
    rejects.append(with_raw_text(repeated, source))
    validate(frame, file)
    return Table(frame, pl.concat(rejects).sort(LINE))


def read_days(
    source: Source, zone: ZoneInfo, ids: HomeIds, advance: Callable[[float], None], days: DaySpill
) -> list[pl.DataFrame]:
    """Read and type the plays of a raw file into `days`, each with its LINE; returns the rejects.

    Duplicates are still among them.
    """
    rows = _Rows(source)
    for frame in rows.read(zone, ids, advance):
        days.add(_completed(frame, source, ids))
    days.leave_out(rows.swallowed())
    return rows.rejects


class _Rows:
    """The rows of a raw file as they are read.

    Attributes:
        rejects: (line, reason, raw) of the rows so far.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._spans: list[pl.DataFrame] = []
        self.rejects = [pl.DataFrame(source.header.text.bad, schema=REJECT_SCHEMA, orient="row")]

    def read(self, zone: ZoneInfo, ids: HomeIds, advance: Callable[[float], None]) -> Iterator[pl.DataFrame]:
        """Typed rows with their LINE, in order, at least one frame.

        Raises:
            InputError: at the end, where the last number was cut off.
        """
        source, header = self._source, self._source.header
        done = header.start
        latest = datetime.now(zone) + timedelta(days=1)
        last: list[pl.DataFrame] = []
        for batch in read_batches(source.path, header):
            found = convert(
                batch.rows,
                source.present,
                header.names,
                latest,
                source.time_format,
                ids=ids,
                in_commas=source.in_commas,
            )
            self.rejects += [batch.broken, found.rejects]
            rows = found.typed
            if source.file.is_timed:
                rows, untimed = _with_instant(found.typed, batch.rows, source, latest)
                self.rejects.append(untimed)
            self._spans.append(batch.spans)
            last = [pl.concat([*last, rows]).tail(2)]
            yield rows
            advance(batch.bytes_read - done)
            done = batch.bytes_read
        if source.file.has_plays and source.file.layout is None and columns.WATCH_RATIO in header.names:
            _refuse_cut_ratio(source.path, header, last[0])

    def swallowed(self) -> list[int]:
        """The lines of rows that a quote swallowed, once all rows are read; these lines become rejects."""
        found, records = _swallowed(self._source, pl.concat(self._spans))
        if records:
            self.rejects = [one.filter(~pl.col(LINE).is_in(records)) for one in self.rejects] + [found]
        return records


def _completed(frame: pl.DataFrame, source: Source, ids: HomeIds) -> pl.DataFrame:
    """Typed rows with the columns of their table, and LINE."""
    file = source.file
    frame = with_values(frame, file, ids.codes_named)
    if file.has_plays and columns.WATCH_RATIO not in frame.columns:
        ratio = pl.col(columns.PLAY_DURATION) / pl.col(columns.VIDEO_DURATION)
        frame = frame.with_columns(ratio.cast(pl.Float32).alias(columns.WATCH_RATIO))
    promised = table_columns(file)
    absent = [
        pl.lit(None, dtype=stored_type(column)).alias(name)
        for name, column in promised.items()
        if name not in frame.columns
    ]
    return frame.with_columns(absent).select(*promised, LINE)


def _swallowed(source: Source, spans: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
    """The lines of rows that a quote swallowed, each a reject, and the lines where such records begin."""
    names, delimiter = source.header.names, source.header.delimiter
    key = key_index(source.file, names)
    numbers = spans.select(pl.int_ranges(LINE, pl.col(LINE) + pl.col("breaks") + 1).explode()).to_series()
    texts = lines_of(source.header, numbers.drop_nulls()).to_list()
    found: list[tuple[int, str, str]] = []
    records = []
    done = 0
    for line, breaks in spans.rows():
        parts = texts[done : done + breaks + 1]
        done += breaks + 1
        record = "\n".join(parts)
        if is_swallowing(record, len(names), key, delimiter):
            opened = opening_line(record, line, delimiter)
            reason = f"a quote that opens on line {opened} takes the rows to line {line + breaks} with it"
            found += [(line + at, reason, part) for at, part in enumerate(parts)]
            records.append(line)
    return pl.DataFrame(found, schema=REJECT_SCHEMA, orient="row"), records


def _order(file: RawFile) -> list[str]:
    if file.is_log:
        return [columns.EVENT_TIMESTAMP, columns.USER_ID, columns.VIDEO_ID]
    return list(file.key)


def _with_instant(
    rows: pl.DataFrame, text: pl.DataFrame, source: Source, latest: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Plays with their event_timestamp, from `timestamp` or else local `time`; separately, those without one.

    If the file may have plays without a time, only plays with a wrong time are rejected.
    """
    instants = pl.Series([None], dtype=INSTANT).new_from_index(0, rows.height)
    if TIMESTAMP in rows.columns:
        instants = rows[TIMESTAMP]
    reasons = pl.Series([None], dtype=pl.String).new_from_index(0, rows.height)
    # Texts of times are slow to read: only those that are needed.
    without = instants.is_null().arg_true()
    if LOCAL_TIME in rows.columns and len(without):
        assert isinstance(latest.tzinfo, ZoneInfo)
        read = local_times(rows[LOCAL_TIME].gather(without), latest.tzinfo, latest, source.time_format)
        instants = instants.clone().scatter(without, read.instants)
        reasons = reasons.scatter(without, read.reasons)
    kept = rows.drop(TIMESTAMP, LOCAL_TIME, strict=False).with_columns(
        instants.alias(columns.EVENT_TIMESTAMP)
    )
    untimed = instants.is_null() & (reasons.is_not_null() if source.file.time_optional else True)
    if not untimed.any():
        return kept, pl.DataFrame(schema=REJECT_SCHEMA)
    reason = reasons.fill_null(f"no time in column {TIMESTAMP} or {LOCAL_TIME}").alias(REASON)
    bad = pl.DataFrame([rows[LINE], reason]).filter(untimed)
    rejects = text.join(bad, on=LINE, how="inner").select(LINE, REASON, raw_text(source.header.names))
    return kept.filter(~untimed), rejects


def _refuse_cut_ratio(path: Path, header: Header, frame: pl.DataFrame) -> None:
    """Refuse a file whose last number was cut off: the line has no end, and its ratio is not the play's."""
    if frame.height < 2 or ends_with_newline(header):
        return
    last = frame.tail(2).with_columns(
        (pl.col(columns.PLAY_DURATION) / pl.col(columns.VIDEO_DURATION)).alias("true")
    )
    off = (last[columns.WATCH_RATIO] - last["true"]).abs() > _RATIO_TOLERANCE * (1 + last["true"])
    if off[1] and not off[0]:
        raise InputError(
            f"{path}, line {last[LINE][1]}: the file ends in the middle of a number.",
            "Download or copy the file again.",
        )


def distinct(frame: pl.DataFrame, file: RawFile) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The distinct rows in order, the first of equal ones, and the lines of the others (line, reason).

    Args:
        frame: typed rows with their LINE, which the result lacks.
    """
    order = _order(file)
    content = [name for name in frame.columns if name != LINE]
    rest = [name for name in content if name not in order and not frame.schema[name].is_nested()]
    # Equal rows are adjacent, in the order of the file.
    frame = frame.sort(*order, *(() if file.key else rest), LINE)
    same_key = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(name).shift(1)) for name in (file.key or content)
    )
    repeats = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in content)
    first = pl.int_range(pl.len()) == 0
    again = frame.select((same_key & ~first).fill_null(value=False).alias("again"))["again"]
    if not again.any():
        return frame.drop(LINE), pl.DataFrame(schema={LINE: pl.Int64, REASON: pl.String})
    reason = (
        pl.when(repeats)
        .then(pl.lit(DUPLICATE))
        .otherwise(pl.lit(f"a second row of one {', '.join(file.key)}"))
    )
    repeated = frame.with_columns(reason.alias(REASON)).filter(again).select(LINE, REASON)
    return frame.filter(~again).drop(LINE), repeated


def with_raw_text(repeated: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Read the file again for the text of these lines, rather than keep it in memory for all rows."""
    path, header = source.path, source.header
    if repeated.is_empty():
        return pl.DataFrame(schema=REJECT_SCHEMA)
    if not header.has_quotes and not header.lone_returns:
        rows = repeated.sort(LINE)
        return rows.with_columns(lines_of(header, rows[LINE]))
    found = [
        batch.rows.join(repeated, on=LINE, how="inner").select(LINE, REASON, raw_text(header.names))
        for batch in read_batches(path, header)
    ]
    return pl.concat(found)
