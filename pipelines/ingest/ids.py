"""Gives ids that are text their codes while files are read, and says which ids of a home are text.

By the setting `text_ids`; or, where that is `auto`, by what stands in the first load, and what was found then
stays. A home of integers becomes one of text by that setting: every integer keeps itself as its code.
"""

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import is_as_written, is_lost
from nightreel.core.errors import InputError
from nightreel.core.ids import CODE, ID, NAMES, Ids, ids_file
from nightreel.core.logs import get_logger
from nightreel.core.settings import AUTO_IDS, NO_TEXT_IDS, Settings
from pipelines.ingest.numbers import floats, is_whole
from pipelines.ingest.sources import Source, first_values

INTEGER = "integer"
_INT64 = np.iinfo(np.int64)
_SCHEMA = pa.schema([pa.field(ID, pa.large_string()), pa.field(CODE, pa.int64(), nullable=False)])
_TOKEN = b"nightreel.ids"
_ROWS_AT_A_TIME = 250_000
# A few bad rows do not make ids of integers text.
_SHARE_OF_WORDS, _SHARE_OF_LARGE = 0.5, 1 / 3
_LARGEST_UNSIGNED = 2**64 - 1
# More ids than any home will have.
_ROOM = 2**40

_log = get_logger(__name__)


class Codes:
    """The codes of one name's ids: those that the file has, and those given since.

    Every id that was ever seen is kept once, by Polars' categories, at less than 150 bytes each.
    """

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        # Categories live as long as a series has them.
        self._kept = pl.Series(ID, [], dtype=self._type)
        # By category: each has a code as soon as it is there. Longer than what is used of it. None as long as
        # each category is its own code, as in every home that began with text.
        self._codes: np.ndarray | None = None
        self._used = 0
        self._gone = np.zeros(0, dtype=np.int64)
        self._next = 0
        self.token = uuid.uuid4().hex
        self.new = 0

    def __len__(self) -> int:
        return self._used

    @classmethod
    def read(cls, file: Path) -> "Codes":
        """As a file has them."""
        if not is_as_written(file):
            raise InputError(
                f"{file}: not as it was written.",
                "Put the file of a backup there; or remove it, and run `nightreel ingest --force`: all ids "
                "get new codes.",
            )
        made = cls()
        parquet = pq.ParquetFile(file)
        made.token = (parquet.schema_arrow.metadata or {}).get(_TOKEN, b"").decode()
        for batch in parquet.iter_batches(_ROWS_AT_A_TIME):
            made._add(pl.DataFrame(batch))
        made._begin()
        return made

    @classmethod
    def of_integers(cls, ids: pl.Series) -> "Codes":
        """Of ids that were integers until now: each is its own code."""
        made = cls()
        ids = ids.drop_nulls().unique().sort()
        made._add(pl.DataFrame([ids.cast(pl.String).alias(ID), ids.cast(pl.Int64).alias(CODE)]))
        made._begin()
        made.new = len(made)
        return made

    def codes(self, ids: pl.Series) -> pl.Series:
        """The code of each id, none of which is null; new ones are given in order of appearance."""
        category = ids.cast(self._type).to_physical().to_numpy()
        new, first = np.unique(category[category >= self._used], return_index=True)
        if len(new):
            given = np.empty(len(new), dtype=np.int64)
            given[np.argsort(first)] = self._next + np.arange(len(new))
            self._set(new, given)
            self._next += len(new)
            self.new += len(new)
        return pl.Series(
            ids.name, category.astype(np.int64) if self._codes is None else self._codes[category]
        )

    def write(self, file: Path, *, but: str | None = None) -> None:
        """Write them all, by code. but: an id that is left out, with its code in its place."""
        codes = self._all()
        order = None if (codes[1:] > codes[:-1]).all() else np.argsort(codes, kind="stable")
        schema = _SCHEMA.with_metadata({_TOKEN: self.token.encode()})
        with (
            atomic_write(file, checksum=True) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for start in range(0, len(codes), _ROWS_AT_A_TIME):
                stop = min(start + _ROWS_AT_A_TIME, len(codes))
                part = np.arange(start, stop) if order is None else order[start:stop]
                category = pl.Series(ID, np.where(part < self._used, part, 0), dtype=pl.UInt32)
                ids = category.cat.to(self._type).cast(pl.String)
                # A forgotten id has left its code, which no other gets.
                stays = pl.Series(part < self._used) & ids.ne_missing(but)
                there = pl.select(pl.when(stays).then(ids)).to_series()
                texts = there.to_arrow().cast(pa.large_string())
                writer.write_table(pa.table([texts, pa.array(codes[part])], schema=schema))

    def _add(self, rows: pl.DataFrame) -> None:
        """Add ids with codes that they have."""
        known = rows.filter(pl.col(ID).is_not_null())
        category = known[ID].cast(self._type).to_physical().to_numpy()
        self._set(category, known[CODE].to_numpy())
        self._gone = np.concatenate([self._gone, rows.filter(pl.col(ID).is_null())[CODE].to_numpy()])

    def _all(self) -> np.ndarray:
        """The code of each category, then those of forgotten ids."""
        codes = np.arange(self._used) if self._codes is None else self._codes[: self._used]
        return np.concatenate([codes, self._gone]) if len(self._gone) else codes

    def _set(self, category: np.ndarray, codes: np.ndarray) -> None:
        if not len(category):
            return
        before, self._used = self._used, int(category.max()) + 1
        if self._codes is None:
            if np.array_equal(category, codes):
                return
            self._codes = np.arange(before)
        if self._used > len(self._codes):
            self._codes.resize(max(self._used, len(self._codes) * 3 // 2), refcheck=False)
        self._codes[category] = codes

    def _begin(self) -> None:
        """Find the first code to give: after the largest, or where integers reach that far, in a gap."""
        codes = np.sort(self._all())
        if not len(codes):
            return
        self._next = int(codes[-1]) + 1
        if self._next > _INT64.max - _ROOM:
            gaps = np.diff(codes).view(np.uint64)
            self._next = int(codes[gaps.argmax()]) + 1


class HomeIds:
    """The ids of a home while its files are read: which are text, and the codes of those."""

    def __init__(self, settings: Settings, codes: dict[str, Codes], *, is_new: bool) -> None:
        self._settings, self._codes, self._is_new = settings, codes, is_new

    @classmethod
    def of(cls, settings: Settings) -> "HomeIds":
        """As the home has them. `recognise` looks at the first load of a new home."""
        asked = names_of(settings)
        codes = {}
        for name in dict.fromkeys(NAMES.values()):
            file = ids_file(settings.paths, name)
            if asked is not None and name not in asked and file.is_file():
                raise InputError(
                    f"text_ids: the {name} ids of this home are text ({file}).",
                    f'Add "{name}" to text_ids, or begin a new home.',
                )
            if file.is_file():
                codes[name] = Codes.read(file)
            elif is_lost(file):
                _log.warning("ids have lost their codes and get new ones", file=str(file))
                codes[name] = Codes()
            elif asked is not None and name in asked:
                codes[name] = Codes.of_integers(_integers(settings, name))
        is_new = asked is None and not settings.paths.table("interactions").is_file()
        return cls(settings, codes, is_new=is_new)

    @classmethod
    def unsaved(cls, settings: Settings) -> "HomeIds":
        """For a look at a file: codes mean nothing."""
        asked = names_of(settings) or ()
        there = [name for name in NAMES.values() if name in asked or ids_file(settings.paths, name).is_file()]
        is_new = names_of(settings) is None and not settings.paths.table("interactions").is_file()
        return cls(settings, {name: Codes() for name in there}, is_new=is_new)

    def recognise(self, sources: Iterable[Source]) -> None:
        """Where this is a first load and `text_ids` is `auto`: which ids are text, by the first rows."""
        if not self._is_new:
            return
        for source in sources:
            for column in source.present.columns:
                name = NAMES.get(column.name)
                if name is None or name in self._codes or column.name == columns.FRIENDS:
                    continue
                if _are_text(first_values(source, column.name)):
                    self._codes[name] = Codes()

    def is_text(self, column: str) -> bool:
        """Whether the ids of a column are text."""
        return NAMES.get(column) in self._codes

    def codes(self, column: str, ids: pl.Series) -> pl.Series:
        """The codes of a column's ids, null where there is none."""
        known = ids.is_not_null()
        if known.all():
            return self._codes[NAMES[column]].codes(ids)
        codes = self._codes[NAMES[column]].codes(ids.drop_nulls())
        positions = (known.cast(pl.Int64).cum_sum() - 1).clip(lower_bound=0)
        if codes.is_empty():
            return pl.Series(ids.name, [None] * len(ids), dtype=pl.Int64)
        return pl.select(pl.when(known).then(codes.gather(positions)).alias(ids.name)).to_series()

    def save(self) -> list[Path]:
        """Write what is new; returns the files of all that are text."""
        written = []
        for name, codes in self._codes.items():
            file = ids_file(self._settings.paths, name)
            if codes.new or not file.is_file():
                codes.write(file)
            written.append(file)
        return written

    @property
    def tokens(self) -> dict[str, str]:
        """Of each name whose ids are text, what its codes are known by: other codes have another token."""
        return {name: codes.token for name, codes in sorted(self._codes.items())}

    @property
    def summary(self) -> dict[str, str]:
        """For people: the ids that are text, how many, and how many of them are new."""
        return {
            name: f"text, {len(codes):,}" + (f" ({codes.new:,} new)" if codes.new else "")
            for name, codes in sorted(self._codes.items())
        }


def forget_id(ids: Ids, one: int | str) -> int:
    """Take an id that is text out of the home; its code stays, and is given to no other. Returns how many."""
    if not ids.is_text or not ids.codes_of([one]):
        return 0
    codes = Codes.read(ids.file)
    codes.write(ids.file, but=str(one))
    return 1


def names_of(settings: Settings) -> tuple[str, ...] | None:
    """The names whose ids are text by the setting; None where they are recognised."""
    if settings.text_ids == AUTO_IDS:
        return None
    return () if settings.text_ids == NO_TEXT_IDS else tuple(settings.text_ids.split(","))


def remedy_for(settings: Settings, reason: str) -> str:
    """What to do where rows are rejected for ids that are no integers; empty for another reason."""
    column = reason.removeprefix("column ").split(":")[0]
    if settings.data is not None and settings.data.maps_plays:
        mapped = settings.data.columns
        column = {mapped.user: columns.USER_ID, mapped.item: columns.VIDEO_ID}.get(column, column)
    no_integer = reason.endswith(("is not a whole number", "is larger than 64 bits"))
    if not reason.startswith("column ") or column not in NAMES or not no_integer:
        return ""
    names = [*(names_of(settings) or ()), NAMES[column]]
    return f' If such ids are right, set text_ids = "{",".join(names)}".'


def _are_text(values: Sequence[str]) -> bool:
    """Whether ids are no signed integers: words, or unsigned ones of 64 bits, and more than a few bad rows.

    What is written like a number, such as 5.5 or 9.9E+15, is no sign of words.
    """
    found = pl.Series(ID, values, dtype=pl.String).str.strip_chars()
    found = found.filter(found != "")
    if found.is_empty():
        return False
    whole = is_whole(found)
    words = (~whole & floats(found).is_null()) | (whole & found.str.contains(r"^0\d"))
    large = sum(
        _INT64.max < int(one.split(".")[0]) <= _LARGEST_UNSIGNED
        for one in found.filter(whole & (found.str.len_bytes() > 18)).to_list()
    )
    least = _SHARE_OF_WORDS * len(found)
    return int(words.sum()) > least or large > _SHARE_OF_LARGE * len(found)


def _integers(settings: Settings, name: str) -> pl.Series:
    """Every id of a name in the tables of a home whose ids of that name are integers."""
    found = [pl.Series(ID, [], dtype=pl.Int64)]
    for file in sorted(settings.paths.tables.rglob("*.parquet")):
        schema = pl.read_parquet_schema(file)
        for column in (one for one, of in NAMES.items() if of == name and one in schema):
            ids = pl.read_parquet(file, columns=[column])[column]
            if schema[column] == pl.List(pl.Int64):
                ids = ids.explode()
            found.append(ids.cast(pl.Int64).alias(ID).unique())
    return pl.concat(found)
