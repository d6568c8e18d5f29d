"""Merges deliveries into a table in order of arrival; each row has the instant at which it became known.

`created_timestamp` is the arrival of the delivery that brought a row, ALWAYS_KNOWN for the rows of the raw
file. Nothing that a delivery replaces is lost: it is kept beside the table, so that the table as it was at
any earlier instant can be made again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from nightreel.core import columns
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

CREATED = columns.CREATED_TIMESTAMP


@dataclass(frozen=True)
class Known:
    """A table with created_timestamp, sorted, and the rows that were replaced in it, of the same columns.

    Attributes:
        superseded: the replaced rows, sorted by key and created_timestamp; empty for plays, of which none
            replaces another.
    """

    table: pl.DataFrame
    superseded: pl.DataFrame

    @classmethod
    def first(cls, table: pl.DataFrame) -> "Known":
        """Rows of the raw file, known from the start."""
        stamped = table.with_columns(_from_the_start().alias(CREATED))
        return cls(stamped, stamped.clear())

    @classmethod
    def read(cls, table: Path, superseded: Path) -> "Known":
        """Read both tables; rows of an older nightreel count as known from the start."""
        frame = pl.read_parquet(table)
        if CREATED not in frame.columns:
            return cls.first(frame)
        return cls(frame, pl.read_parquet(superseded) if superseded.is_file() else frame.clear())

    def of_raw_file(self) -> pl.DataFrame:
        """Plays of the raw file, without created_timestamp."""
        return self.table.filter(pl.col(CREATED) == _from_the_start()).drop(CREATED)

    def delivered(self) -> pl.DataFrame:
        """The rows that deliveries brought."""
        return self.table.filter(pl.col(CREATED) > _from_the_start())

    def versions(self) -> pl.DataFrame:
        """Every row that the table has or had."""
        return pl.concat([self.superseded, self.table])

    def at(self, known_at: datetime, key: Collection[str]) -> "Known":
        """The table as it was at an earlier instant: with what had arrived by then."""
        arrived = pl.col(CREATED) <= pl.lit(known_at, dtype=INSTANT)
        table = self.table.filter(arrived)
        if not self.superseded.height:
            return Known(table, table.clear())
        versions = pl.concat([self.superseded.filter(arrived), table]).sort(*key, CREATED)
        last = pl.struct(key) != pl.struct(key).shift(-1)
        is_last = versions.select(last.fill_null(value=True).alias("last"))["last"]
        return Known(versions.filter(is_last), versions.filter(~is_last))


def arrived_at(rows: pl.DataFrame, arrived: datetime) -> pl.DataFrame:
    """A delivery's rows, known to us from the instant (UTC) of its arrival on."""
    return rows.with_columns(pl.lit(arrived, dtype=INSTANT).alias(CREATED))


def add_plays(known: Known, plays: pl.DataFrame) -> tuple[Known, int]:
    """Add the plays, with created_timestamp, that a table or one of its days lacks, and count them."""
    content = [name for name in known.table.columns if name != CREATED]
    if plays.is_empty():
        return known, 0
    # Plays before the first new one and after the last stay as they are: a late play costs only its moment.
    instants, present = plays[columns.EVENT_TIMESTAMP].sort(), known.table[columns.EVENT_TIMESTAMP]
    begin = present.search_sorted(instants[0], side="left")
    end = present.search_sorted(instants[-1], side="right")
    earlier, among, later = known.table[:begin], known.table[begin:end], known.table[end:]
    new = plays.select(known.table.columns).join(among, on=content, how="anti", nulls_equal=True)
    if new.is_empty():
        return known, 0
    order = [columns.EVENT_TIMESTAMP, columns.USER_ID, columns.VIDEO_ID]
    order += [name for name in content if name not in order]
    table = pl.concat([earlier, pl.concat([among, new]).sort(order), later])
    return Known(table, known.superseded), new.height


def with_records(
    known: Known, records: pl.DataFrame, given: Collection[str], key: tuple[str, ...]
) -> tuple[Known, int]:
    """Replace or add records, with created_timestamp, where their keys' present ones differ; count them.

    Args:
        given: the columns that their file has; a replaced record keeps its values in the others.
    """
    content = [name for name in known.table.columns if name not in (*key, CREATED)]
    # Most rows of a table have none of these keys: only the others are looked at.
    named = known.table.join(records, on=key, how="semi")
    before = named.select(*key, *(pl.col(name).alias(f"before {name}") for name in content), is_there=True)
    joined = records.join(before, on=key, how="left", maintain_order="left").with_columns(
        pl.col("is_there").fill_null(value=False),
        # A column that the file lacks stays as it was.
        *(pl.col(f"before {name}").alias(name) for name in content if name not in given),
    )
    differs = pl.any_horizontal(
        ~pl.col("is_there"), *(pl.col(name).ne_missing(pl.col(f"before {name}")) for name in content)
    )
    new = joined.filter(differs).select(known.table.columns)
    if new.is_empty():
        return known, 0
    replaced = named.join(new, on=key, how="semi")
    kept = known.table.join(replaced, on=key, how="anti") if replaced.height else known.table
    table = pl.concat([kept, new]).sort(key)
    superseded = pl.concat([known.superseded, replaced]).sort(*key, CREATED)
    return Known(table, superseded), new.height


def _from_the_start() -> pl.Expr:
    """Made on use, because a Polars literal of an instant starts threads, which an import should not."""
    return pl.lit(ALWAYS_KNOWN, dtype=INSTANT)
