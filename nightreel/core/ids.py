"""Ids that are not signed 64-bit integers: inside, each has a code; people, apps and Feast see the id itself.

`data/ids/user.parquet` and its like have one row per id: `id` (text) and `code` (int64), by code. Codes are
assigned in order of first appearance and never change; ingest appends. A home whose ids are integers has no
such file, and its ids are their own codes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Paths

ID, CODE = "id", "code"
# What the ids of each column identify.
NAMES: Final[Mapping[str, str]] = {
    columns.USER_ID: "user",
    columns.FRIENDS: "user",
    columns.VIDEO_ID: "video",
    columns.AUTHOR_ID: "author",
    columns.MUSIC_ID: "music",
    columns.VIDEO_TAG: "tag",
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,4000}")
_INT64: Final = np.iinfo(np.int64)


def ids_file(paths: Paths, name: str) -> Path:
    """The file of ids and codes for one of NAMES, if these ids are text."""
    return paths.ids / f"{name}.parquet"


@dataclass(frozen=True)
class Ids:
    """One home's ids of users, of videos, or of another of NAMES."""

    name: str
    file: Path
    # Otherwise they are integers, and their own codes.
    is_text: bool

    @classmethod
    def of(cls, paths: Paths, column: str) -> "Ids":
        """The ids that a column holds."""
        file = ids_file(paths, NAMES[column])
        return cls(NAMES[column], file, file.is_file())

    def outward(self, codes: "np.ndarray | Sequence[int]") -> list[int] | list[str]:
        """The ids of these codes. Raises NightreelError if a code is unknown."""
        return self.named(np.asarray(codes, dtype=np.int64)).to_list()

    def named(self, codes: np.ndarray) -> pl.Series:
        """The ids of these codes as a column. Raises NightreelError if a code is unknown."""
        if not self.is_text:
            return pl.Series(ID, codes)
        found = self._mapping().ids_of(codes)
        if found.null_count():
            raise NightreelError(
                f"{self.file}: a {self.name} of the tables is not in it.",
                "Run `nightreel ingest --force`, then `nightreel features`.",
            )
        return found

    def codes_of(self, ids: Iterable[int | str]) -> dict[int | str, int]:
        """The codes of those of these ids that are known."""
        if not self.is_text:
            return {one: int(one) for one in ids if not isinstance(one, str) or _is_integer(one)}
        asked = pl.Series(ID, list(dict.fromkeys(map(str, ids))), dtype=pl.String)
        # One id is found in the file without having all of them in memory.
        mapping = pl.scan_parquet(self.file) if len(asked) == 1 else self._mapping().frame.lazy()
        found = mapping.join(asked.to_frame().lazy(), on=ID, how="semi").collect()
        return dict(zip(found[ID].to_list(), found[CODE].to_list(), strict=True))

    def codes_between(self, first: int, last: int) -> np.ndarray:
        """The existing codes from `first` to `last`, both included; for text ids only."""
        codes = self._mapping().frame.filter(pl.col(CODE).is_between(first, last), pl.col(ID).is_not_null())
        return codes[CODE].to_numpy()

    def key(self, one: int | str) -> int | str:
        """An id from a table that may be older than the home's ids, in the form of `codes_of`."""
        return str(one) if self.is_text else one

    def given(self, text: str) -> int | str:
        """An id typed by a person, as the database's tables store it.

        Raises:
            InputError: the home's ids are integers and this is not one.
        """
        if self.is_text:
            return text
        if not _is_integer(text):
            raise InputError(
                f"{self.name} {text!r}: the {self.name} ids of this home are whole numbers of 64 bits.",
                "Write one of them.",
            )
        return int(text)

    def code_of(self, one: int | str) -> int | None:
        """The code of an id as returned by `given`; None if unknown."""
        return self.codes_of([one]).get(one) if self.is_text else int(one)

    def _mapping(self) -> "_Mapping":
        try:
            status = self.file.stat()
        except OSError as error:
            raise NightreelError(
                f"{self.file}: {error.strerror}, and the {self.name} ids are text.",
                "Restore it: it is part of the home.",
            ) from None
        return _mapping(self.file, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class ListIds:
    """The ids in lists: of users and of videos."""

    user: Ids
    video: Ids

    @classmethod
    def of(cls, paths: Paths) -> "ListIds":
        """The ids of a home."""
        return cls(Ids.of(paths, columns.USER_ID), Ids.of(paths, columns.VIDEO_ID))


INTEGERS: Final = ListIds(Ids("user", Path(), is_text=False), Ids("video", Path(), is_text=False))


def _is_integer(text: str) -> bool:
    """Whether a text is an integer of 64 bits."""
    return bool(_INTEGER.fullmatch(text)) and _INT64.min <= int(text) <= _INT64.max


@dataclass(frozen=True)
class _Mapping:
    """The ids of one kind with their codes.

    Attributes:
        frame: id, text, and code, ascending.
        is_dense: whether each code is its id's position.
    """

    frame: pl.DataFrame
    is_dense: bool

    def ids_of(self, asked: np.ndarray) -> pl.Series:
        """The id of each code, null where there is none."""
        if not self.frame.height:
            return pl.Series(ID, [None] * len(asked), dtype=pl.String)
        if self.is_dense:
            known = (asked >= 0) & (asked < self.frame.height)
            position = np.where(known, asked, 0)
        else:
            codes = self.frame[CODE].to_numpy()
            position, known = indices_in(codes, asked)
        found = self.frame[ID].gather(position)
        return found if known.all() else pl.select(pl.when(pl.Series(known)).then(found)).to_series()


@lru_cache(maxsize=4)
def _mapping(file: Path, _size: int, _modified_ns: int) -> _Mapping:
    table = pl.read_parquet(file)
    return _Mapping(table, bool(table.height) and table[CODE][0] == 0 and table[CODE][-1] == table.height - 1)
