"""Classes that describe raw files and their columns: kinds of values, limits, layouts."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

import polars as pl

from nightreel.core import columns
from pipelines.local_days import INSTANT

# An earlier time is another program's word for a missing value.
FIRST_DAY = date(1970, 1, 2)


# A day that only describes, such as when a film came out, may be older.
FIRST_DESCRIBED = date(1900, 1, 1)


class Kind(Enum):
    """The kind of a column's values: how its text is read, and its stored type."""

    KEY = "a whole number"
    ID = "an id"
    INTEGER = "a whole number up to 2147483647"
    COUNT = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    DAY = "a day like 20200705 or 2020-07-05"
    SECONDS = "Unix seconds like 1593878903.438"
    LOCAL_TIME = "a local time like 2020-07-05 00:08:23.438 or 2020-07-05T00:08:23"
    INTEGERS = "a list like [27, 9]"
    TEXTS = "a list like [a,b]"
    TAGS = "a list like [a,b], a|b or a;b"

    @property
    def dtype(self) -> pl.DataType:
        """The stored type."""
        return _DTYPES[self]


_DTYPES: dict[Kind, pl.DataType] = {
    Kind.KEY: pl.Int64(),
    Kind.ID: pl.String(),  # until it gets its code
    Kind.INTEGER: pl.Int32(),
    Kind.COUNT: pl.Int64(),
    Kind.NUMBER: pl.Float32(),
    Kind.TEXT: pl.String(),
    Kind.DAY: pl.Date(),
    Kind.SECONDS: INSTANT,
    Kind.LOCAL_TIME: pl.String(),
    Kind.INTEGERS: pl.List(pl.Int64),
    Kind.TEXTS: pl.List(pl.String),
    Kind.TAGS: pl.List(pl.String),
}


@dataclass(frozen=True)
class RawColumn:
    """One column of a raw file.

    Attributes:
        required: whether the file must have it.
        nullable: whether a row may lack a value.
        at_least: the lowest number allowed.
        missing: texts in the file, besides the empty one, that mean a missing value.
        earliest: days before this one are rejected.
        source: the column's name in the file, if settings map another one.
        at_most: the highest value allowed.
        among: the texts allowed; empty: all.
    """

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = True
    at_least: float | None = None
    missing: tuple[str, ...] = ()
    earliest: date = FIRST_DAY
    source: str = ""
    at_most: float | None = None
    among: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Its name in the file."""
        return self.source or self.name


@dataclass(frozen=True)
class RawFile:
    """One raw file, the validated table that it becomes, and the effect of its absence.

    Attributes:
        key: columns that together identify a row.
        any_of: at least one of these columns must be there.
        without: for an optional file, the consequence if it is missing, or empty text; None if the file is
            required.
        is_timed: whether a row happened at an instant.
        has_plays: whether a row is a play.
        time_optional: whether a play may lack its time.
        layout: how to read its rows if settings map its columns; None for KuaiRec's layout.
    """

    name: str
    table: str
    columns: tuple[RawColumn, ...]
    key: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    without: str | None = None
    is_timed: bool = False
    has_plays: bool = False
    time_optional: bool = False
    layout: "Layout | None" = None

    @property
    def is_log(self) -> bool:
        """Whether its rows are events in order of time, of which two equal ones are one."""
        return self.is_timed and not self.key

    @property
    def is_by_day(self) -> bool:
        """Whether its table is a folder of days: a log, or records that each belong to a day."""
        return self.is_log or columns.LOCAL_DATE in self.key


@dataclass(frozen=True)
class Layout:
    """How to read the rows of a file whose columns settings map.

    Attributes:
        only_named: whether only the mapped columns are read.
        unit_ms: milliseconds per unit of play time and length.
        event_weights: the weight of each event.
        captions: columns whose texts together make an item's caption.
        categories: how many levels of categories the file has as columns.
        has_tags: whether it has a column of tags, the first of which becomes the item's tag.
    """

    only_named: bool = False
    unit_ms: int = 1
    event_weights: tuple[tuple[str, float], ...] = ()
    captions: tuple[str, ...] = ()
    categories: int = 0
    has_tags: bool = False
