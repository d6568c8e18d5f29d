"""The codes of ids that are text: given in order of first appearance, never changed, kept in a file."""

import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import is_as_written
from nightreel.core.errors import InputError
from nightreel.core.ids import CODE, ID
from pipelines.ingest.id_index import NONE, GrowingArray, IdIndex

_INT64 = np.iinfo(np.int64)
_SCHEMA = pa.schema([pa.field(ID, pa.large_string()), pa.field(CODE, pa.int64(), nullable=False)])
_TOKEN = b"nightreel.ids"
_ROWS_AT_A_TIME = 250_000
# More ids than any home will have.
_ROOM = 2**40


class Codes:
    """The codes of one name's ids: those that the file has, and those given since.

    Every id that was ever seen is kept once. An id takes its own bytes and about 40 more.
    """

    def __init__(self) -> None:
        self._ids = IdIndex()
        # Codes by position in the index; None while every position is its own code, which holds in a home
        # that began with text ids and has forgotten none.
        self._codes: GrowingArray | None = None
        # The codes of forgotten ids.
        self._gone = np.zeros(0, dtype=np.int64)
        self._next = 0
        self.token = uuid.uuid4().hex
        self.new = 0

    def __len__(self) -> int:
        return len(self._ids)

    @classmethod
    def read(cls, file: Path) -> "Codes":
        """Read the codes of a file."""
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
            rows = pl.DataFrame(batch)
            known = rows.filter(pl.col(ID).is_not_null())
            made._add(known[ID], known[CODE].to_numpy())
            made._gone = np.concatenate([made._gone, rows.filter(pl.col(ID).is_null())[CODE].to_numpy()])
        made._begin()
        return made

    @classmethod
    def of_integers(cls, ids: pl.Series) -> "Codes":
        """Codes for ids that were integers until now: each is its own code."""
        made = cls()
        ids = ids.drop_nulls().unique().sort()
        for part in ids.to_frame().iter_slices(_ROWS_AT_A_TIME):
            codes = part.to_series().cast(pl.Int64)
            made._add(codes.cast(pl.String), codes.to_numpy())
        made._begin()
        made.new = len(made)
        return made

    def codes(self, ids: pl.Series) -> pl.Series:
        """The code of each id, none of which is null; new ones are given in order of appearance."""
        parts = [
            self._codes_of(part.to_series().cast(pl.String))
            for part in ids.to_frame().iter_slices(_ROWS_AT_A_TIME)
        ]
        return pl.Series(ids.name, np.concatenate(parts) if parts else [], dtype=pl.Int64)

    def write(self, file: Path, *, but: str | None = None) -> None:
        """Write all ids by code.

        Args:
            but: an id to leave out; its code is kept, so that no other id gets it.
        """
        schema = _SCHEMA.with_metadata({_TOKEN: self.token.encode()})
        with (
            atomic_write(file, checksum=True) as temporary,
            # An id or a code is hardly ever there twice.
            pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=False) as writer,
        ):
            codes = self._all()
            order = None if (codes[1:] > codes[:-1]).all() else np.argsort(codes, kind="stable")
            for start in range(0, len(codes), _ROWS_AT_A_TIME):
                stop = min(start + _ROWS_AT_A_TIME, len(codes))
                part = np.arange(start, stop) if order is None else order[start:stop]
                is_there = part < len(self._ids)
                ids = self._ids.texts(np.where(is_there, part, 0))
                # The code of a forgotten id stays, and no other id gets it.
                stays = pl.Series(is_there) & ids.ne_missing(but)
                texts = pl.select(pl.when(stays).then(ids)).to_series().to_arrow().cast(pa.large_string())
                writer.write_table(pa.table([texts, pa.array(codes[part])], schema=schema))

    def _codes_of(self, ids: pl.Series) -> np.ndarray:
        position = self._ids.find(ids)
        unseen = position == NONE
        if unseen.any():
            later = ids.filter(pl.Series(unseen))
            new = later.unique(maintain_order=True)
            self._add(new, self._next + np.arange(len(new)))
            self._next += len(new)
            self.new += len(new)
            position[unseen] = self._ids.find(later)
        return position if self._codes is None else self._codes.values[position]

    def _add(self, ids: pl.Series, codes: np.ndarray) -> None:
        """Add new ids with their codes."""
        if not len(ids):
            return
        before = len(self._ids)
        self._ids.add(ids)
        if self._codes is None:
            if np.array_equal(codes, np.arange(before, len(self._ids))):
                return
            self._codes = GrowingArray(np.int64)
            self._codes.append(np.arange(before))
        self._codes.append(codes)

    def _all(self) -> np.ndarray:
        """The code of each position, then those of forgotten ids."""
        codes = np.arange(len(self._ids)) if self._codes is None else self._codes.values
        return np.concatenate([codes, self._gone]) if len(self._gone) else codes

    def _begin(self) -> None:
        """Find the first free code: after the largest one or, if integers reach that far, in a gap."""
        codes = np.sort(self._all())
        if not len(codes):
            return
        self._next = int(codes[-1]) + 1
        if self._next > _INT64.max - _ROOM:
            gaps = np.diff(codes).view(np.uint64)
            self._next = int(codes[gaps.argmax()]) + 1
