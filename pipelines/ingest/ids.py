"""Assigns codes to text ids while files are read, and decides which ids of a home are text.

The setting `text_ids` decides or, if it is `auto`, the first load, once and for all. With that setting, a
home of integer ids can turn to text ids: every integer is then its own code.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.checksums import is_lost
from nightreel.core.errors import InputError
from nightreel.core.ids import ID, NAMES, Ids, ids_file
from nightreel.core.logs import get_logger
from nightreel.core.play_days import table_exists
from nightreel.core.settings import AUTO_IDS, NO_TEXT_IDS, DataSettings, Paths
from nightreel.core.settings.needs import LogNeeds
from pipelines.ingest.id_codes import Codes
from pipelines.ingest.numbers import floats, is_whole
from pipelines.ingest.sources import Source, first_values

INTEGER = "integer"
_INT64 = np.iinfo(np.int64)
# A few bad rows do not make ids of integers text.
_SHARE_OF_WORDS, _SHARE_OF_LARGE = 0.5, 1 / 3
_LARGEST_UNSIGNED = 2**64 - 1

_log = get_logger(__name__)


class HomeIds:
    """The ids of a home while its files are read: which are text, and the codes of those."""

    def __init__(self, settings: LogNeeds, codes: dict[str, Codes], *, is_new: bool) -> None:
        self._settings, self._codes, self._is_new = settings, codes, is_new

    @classmethod
    def of(cls, settings: LogNeeds) -> "HomeIds":
        """The ids of a home. In a new home, `recognise` decides at the first load."""
        asked = names_of(settings.data)
        codes = {}
        declared = _declared(settings.data)
        for name in dict.fromkeys([*NAMES.values(), *declared]):
            file = ids_file(settings.paths, name)
            if asked is not None and name not in (*asked, *declared) and file.is_file():
                raise InputError(
                    f"text_ids: the {name} ids of this home are text ({file}).",
                    f'Add "{name}" to [data.format] text_ids, or begin a new home.',
                )
            if file.is_file():
                codes[name] = Codes.read(file)
            elif is_lost(file):
                _log.warning("ids have lost their codes and get new ones", file=str(file))
                codes[name] = Codes()
            elif name in (*(asked or ()), *declared):
                codes[name] = Codes.of_integers(_integers(settings.paths, name))
        is_new = asked is None and not table_exists(settings.paths.interactions)
        return cls(settings, codes, is_new=is_new)

    @classmethod
    def unsaved(cls, settings: LogNeeds) -> "HomeIds":
        """Ids for looking at a file without a home; their codes mean nothing."""
        asked = (*(names_of(settings.data) or ()), *_declared(settings.data))
        there = [
            name
            for name in (*NAMES.values(), *_declared(settings.data))
            if name in asked or ids_file(settings.paths, name).is_file()
        ]
        is_new = names_of(settings.data) is None and not table_exists(settings.paths.interactions)
        return cls(settings, {name: Codes() for name in there}, is_new=is_new)

    def recognise(self, sources: Iterable[Source]) -> None:
        """In a first load with `text_ids = "auto"`, decide by the first rows which ids are text."""
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
        """The codes of a column's ids; null for null."""
        return self.codes_named(NAMES[column], ids)

    def codes_named(self, name: str, ids: pl.Series) -> pl.Series:
        """The same, by the name of what the ids identify."""
        known = ids.is_not_null()
        if known.all():
            return self._codes[name].codes(ids)
        codes = self._codes[name].codes(ids.drop_nulls())
        positions = (known.cast(pl.Int64).cum_sum() - 1).clip(lower_bound=0)
        if codes.is_empty():
            return pl.Series(ids.name, [None] * len(ids), dtype=pl.Int64)
        return pl.select(pl.when(known).then(codes.gather(positions)).alias(ids.name)).to_series()

    def save(self) -> list[Path]:
        """Write new ids; returns the files of all text ids."""
        written = []
        for name, codes in self._codes.items():
            file = ids_file(self._settings.paths, name)
            if codes.new or not file.is_file():
                codes.write(file)
            written.append(file)
        return written

    @property
    def tokens(self) -> dict[str, str]:
        """For each name whose ids are text, a token of its codes: other codes have another token."""
        return {name: codes.token for name, codes in sorted(self._codes.items())}

    @property
    def summary(self) -> dict[str, str]:
        """For messages: the ids that are text, how many there are, and how many are new."""
        return {
            name: f"text, {len(codes):,}" + (f" ({codes.new:,} new)" if codes.new else "")
            for name, codes in sorted(self._codes.items())
        }


def forget_id(ids: Ids, one: int | str) -> int:
    """Remove a text id from the home; its code is never given to another id.

    Returns:
        How many ids were removed: 0 or 1.
    """
    if not ids.is_text or not ids.codes_of([one]):
        return 0
    codes = Codes.read(ids.file)
    codes.write(ids.file, but=str(one))
    return 1


def names_of(settings: DataSettings) -> tuple[str, ...] | None:
    """The names whose ids are text by the setting; None where they are recognised."""
    if settings.format.text_ids == AUTO_IDS:
        return None
    return () if settings.format.text_ids == NO_TEXT_IDS else tuple(settings.format.text_ids.split(","))


def _declared(settings: DataSettings) -> tuple[str, ...]:
    """The names whose ids have codes because `[data]` declares an item column with such ids."""
    return () if settings.log is None else settings.log.coded


def remedy_for(settings: DataSettings, reason: str) -> str:
    """What to do if rows are rejected because their ids are not integers; empty for another reason."""
    column = reason.removeprefix("column ").split(":")[0]
    if settings.log is not None and settings.log.maps_plays:
        mapped = settings.log.columns
        column = {mapped.user: columns.USER_ID, mapped.item: columns.VIDEO_ID}.get(column, column)
    no_integer = reason.endswith(("is not a whole number", "is larger than 64 bits"))
    if not reason.startswith("column ") or column not in NAMES or not no_integer:
        return ""
    names = [*(names_of(settings) or ()), NAMES[column]]
    return f' If such ids are right, set [data.format] text_ids = "{",".join(names)}".'


def _are_text(values: Sequence[str]) -> bool:
    """Whether more than a few ids are words or unsigned 64-bit integers.

    Text that looks like a number, such as 5.5 or 9.9E+15, does not count as words.
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


def _integers(paths: Paths, name: str) -> pl.Series:
    """Every id of a name in the tables of a home whose ids of that name are integers."""
    found = [pl.Series(ID, [], dtype=pl.Int64)]
    for file in sorted(paths.tables.rglob("*.parquet")):
        schema = pl.read_parquet_schema(file)
        for column in (one for one, of in NAMES.items() if of == name and one in schema):
            ids = pl.read_parquet(file, columns=[column])[column]
            if schema[column] == pl.List(pl.Int64):
                ids = ids.explode()
            found.append(ids.cast(pl.Int64).alias(ID).unique())
    return pl.concat(found)
