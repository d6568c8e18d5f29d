"""The rows of each source that the online store has, so that a night writes only the rows that differ.

Feast turns every value that it writes into an object of its own, which takes most of a materialization. The
rows of the last one are kept beside a digest of the online store: if anything else has written there since,
all rows are written again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import digest_of

_RECORD = "record.json"


class OnlineRows:
    """The newest row of each key of each source, as the online store has them."""

    def __init__(self, folder: Path, online_store: Path) -> None:
        """Read the files of the folder.

        Args:
            online_store: Feast's SQLite file.
        """
        self._folder, self._online_store = folder, online_store
        self._is_known = self._recorded() == self._digest() is not None
        self._written: dict[str, pl.DataFrame] = {}

    def begin(self) -> None:
        """Forget the kept rows; call before the online store is written to."""
        (self._folder / _RECORD).unlink(missing_ok=True)

    def new(self, source: str, keys: Sequence[str], newest: pa.Table) -> pa.Table:
        """The newest rows of a source, one per key, that the online store does not have."""
        rows = pl.DataFrame(newest)
        before = self._before(source, rows.schema)
        self._written[source] = rows
        if before is None or not keys:
            return newest
        names = [name for name in rows.columns if name not in keys]
        known = before.rename({name: _before(name) for name in names}).with_columns(is_known=pl.lit(True))
        joined = rows.join(known, on=list(keys), how="left", maintain_order="left", nulls_equal=True)
        differs = pl.any_horizontal(
            pl.col("is_known").is_null(), *(pl.col(name).ne_missing(pl.col(_before(name))) for name in names)
        )
        is_new = joined.select(differs.alias("is_new")).to_series()
        # Rows that the source no longer has stay in the online store.
        gone = before.join(rows, on=list(keys), how="anti", nulls_equal=True)
        self._written[source] = pl.concat([rows, gone])
        return newest.filter(is_new.to_arrow())

    def keep(self) -> None:
        """Keep what was written for another night; call once the online store has all of it."""
        with atomic_write(self._folder) as temporary:
            temporary.mkdir()
            for source, rows in self._written.items():
                rows.write_parquet(temporary / f"{source}.parquet")
            record = {"online_store": self._digest(), "files": self._digests(temporary)}
            (temporary / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _before(self, source: str, schema: pl.Schema) -> pl.DataFrame | None:
        path = self._folder / f"{source}.parquet"
        if not self._is_known or not path.is_file():
            return None
        before = pl.read_parquet(path)
        return before if before.schema == schema else None

    def _recorded(self) -> str | None:
        """The digest of the online store that the kept rows belong to; None if they are not as written."""
        try:
            record = json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))
            digest: str = record["online_store"]
            return digest if record["files"] == self._digests(self._folder) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _digest(self) -> str | None:
        """The online store's digest; None if the file is missing, or part of its content is in a journal."""
        journals = [
            self._online_store.with_name(f"{self._online_store.name}{end}") for end in ("-wal", "-journal")
        ]
        if any(path.exists() and path.stat().st_size for path in journals):
            return None
        return digest_of(self._online_store) if self._online_store.is_file() else None

    @staticmethod
    def _digests(folder: Path) -> dict[str, str]:
        return {path.name: digest_of(path) for path in sorted(folder.glob("*.parquet"))}


def _before(name: str) -> str:
    return f"before {name}"
