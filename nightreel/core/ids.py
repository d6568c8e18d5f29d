"""Ids that are no signed 64-bit integers: inside, each has a code; people, apps and Feast see the id itself.

`data/ids/user.parquet` and its like have a row an id: `id`, text, and `code`, int64, by code. Codes are given
in order of first appearance and never change; ingest appends. A home whose ids are integers has no such file,
and its ids are their own codes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Paths

ID, CODE = "id", "code"
# What each column of ids is of.
NAMES: Final[Mapping[str, str]] = {
    columns.USER_ID: "user",
    columns.FRIENDS: "user",
    columns.VIDEO_ID: "video",
    columns.AUTHOR_ID: "author",
    columns.MUSIC_ID: "music",
    columns.VIDEO_TAG: "tag",
}
_INT64: Final = np.iinfo(np.int64)


def ids_file(paths: Paths, name: str) -> Path:
    """Where the ids of a name of NAMES stand with their codes, if they are text."""
    return paths.ids / f"{name}.parquet"


@dataclass(frozen=True)
class Ids:
    """The ids of users, of videos, or of another name, of one home."""

    name: str
    file: Path

    @classmethod
    def of(cls, paths: Paths, column: str) -> "Ids":
        """The ids that stand in a column."""
        return cls(NAMES[column], ids_file(paths, NAMES[column]))

    @property
    def is_text(self) -> bool:
        """Whether they are text; otherwise they are integers, and their own codes."""
        return self.file.is_file()

    def outward(self, codes: "np.ndarray | Sequence[int]") -> list[int] | list[str]:
        """The ids of these codes. Raises NightreelError where one has none."""
        if not self.is_text:
            return [int(code) for code in codes]
        wanted = np.asarray(codes, dtype=np.int64)
        found = _mapping(self.file, *_stamp(self.file)).ids_of(wanted)
        if found.null_count():
            raise NightreelError(
                f"{self.file}: a {self.name} of the tables is not in it.",
                "Run `nightreel ingest --force`, then `nightreel features`.",
            )
        return found.to_list()

    def codes_of(self, ids: Iterable[int] | Iterable[str]) -> dict[int | str, int]:
        """Each of these ids that is known, with its code."""
        if not self.is_text:
            return {one: int(one) for one in ids}
        wanted = pl.Series(ID, list(dict.fromkeys(ids)), dtype=pl.String)
        found = pl.scan_parquet(self.file).join(wanted.to_frame().lazy(), on=ID, how="semi").collect()
        return dict(zip(found[ID].to_list(), found[CODE].to_list(), strict=True))

    def given(self, text: str) -> int | str:
        """The id that someone has written, as tables of the database have it.

        Raises InputError where the home's ids are integers and this is none.
        """
        if self.is_text:
            return text
        try:
            number = int(text) if text.strip().lstrip("+-").isdecimal() and text.isascii() else None
        except ValueError:  # thousands of digits
            number = None
        if number is None or not _INT64.min <= number <= _INT64.max:
            raise InputError(
                f"{self.name} {text!r}: the {self.name} ids of this home are whole numbers of 64 bits.",
                "Write one of them.",
            )
        return number

    def code_of(self, one: int | str) -> int | None:
        """The code of an id as `given` returns it; None where it is not known."""
        return self.codes_of([one]).get(one) if isinstance(one, str) else one


@dataclass(frozen=True)
class _Mapping:
    """ids: text, by ascending code. codes: None where each code is its id's position."""

    ids: pl.Series
    codes: np.ndarray | None

    def ids_of(self, wanted: np.ndarray) -> pl.Series:
        """The id of each code, null where there is none."""
        if not len(self.ids):
            return pl.Series(ID, [None] * len(wanted), dtype=pl.String)
        if self.codes is None:
            known = (wanted >= 0) & (wanted < len(self.ids))
            position = np.where(known, wanted, 0)
        else:
            position = np.minimum(np.searchsorted(self.codes, wanted), len(self.codes) - 1)
            known = self.codes[position] == wanted
        found = self.ids.gather(position)
        return found if known.all() else pl.select(pl.when(pl.Series(known)).then(found)).to_series()


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _mapping(file: Path, _size: int, _modified_ns: int) -> _Mapping:
    table = pl.read_parquet(file)
    codes = table[CODE].to_numpy()
    if len(codes) and codes[0] == 0 and codes[-1] == len(codes) - 1:
        return _Mapping(table[ID], None)
    return _Mapping(table[ID], codes)
