"""The rows of a feature source that a night needs: each key's newest one before the night, and later ones.

They are kept beside the source when a night's rows are added to it. Materialization asks for them alone;
otherwise it would read the keys and times of all rows to find them, more of them each night.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import is_usable, recorded_digest, remove_with_checksum
from nightreel.core.settings import Paths

_FOLDER = "newest_rows"
_SOURCE, _SINCE = b"digest of the source", b"since"


def newest_rows_file(source: Path, paths: Paths, instant: datetime) -> Path | None:
    """A file with rows of a source, among them the newest one of each key at an instant.

    None if there is none for this instant, or if the source has been written since. Whether the source is as
    its checksum says is for the caller to compare.
    """
    since = _kept_since(source, paths)
    return None if since is None or instant < since else _path(source, paths)


@dataclass(frozen=True)
class NewestRows:
    """What is kept of a source that is about to be replaced.

    Attributes:
        kept: an instant, each key's newest row before it, and all later rows; None if nothing is kept.
    """

    source: Path
    paths: Paths
    kept: tuple[datetime, pl.DataFrame] | None

    @classmethod
    def of(cls, source: Path, paths: Paths) -> Self:
        """Read what is kept."""
        since = _kept_since(source, paths)
        return cls(source, paths, None if since is None else (since, pl.read_parquet(_path(source, paths))))

    def keep(self, start: datetime | None) -> None:
        """Keep the rows of the source as it is now.

        Args:
            start: rows before it are those that the source had. If it is None, all rows are new, and nothing
                is kept, as the newest rows would have to be searched for.
        """
        path = _path(self.source, self.paths)
        if start is None:
            remove_with_checksum(path)
            return
        schema = pq.read_schema(self.source)
        keys = schema.names[: schema.names.index(columns.EVENT_TIMESTAMP)]
        times = pl.col(columns.EVENT_TIMESTAMP)
        if self.kept is None or start < self.kept[0]:
            earlier = _newest_of_source(self.source, keys, start)
        else:
            earlier = _newest(self.kept[1].filter(times < start), keys)
        rows = pl.concat([earlier, pl.scan_parquet(self.source).filter(times >= start).collect()])
        noted = {_SOURCE: recorded_digest(self.source) or "", _SINCE: start.isoformat()}
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
        with atomic_write(path, checksum=True) as temporary:
            pq.write_table(table.replace_schema_metadata(noted), temporary)


def _path(source: Path, paths: Paths) -> Path:
    return paths.state / _FOLDER / source.name


def _kept_since(source: Path, paths: Paths) -> datetime | None:
    """Of what instant each key's newest row is kept, with all later rows; None if they are not kept."""
    path, digest = _path(source, paths), recorded_digest(source)
    try:
        noted = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    if digest is None or noted.get(_SOURCE) != digest.encode() or not is_usable(path):
        return None
    return datetime.fromisoformat(noted[_SINCE].decode())


def _newest_of_source(source: Path, keys: list[str], start: datetime) -> pl.DataFrame:
    """The newest rows before an instant, from all rows; one row group is in memory at a time."""
    with pq.ParquetFile(source) as file:
        found = pl.DataFrame(file.schema_arrow.empty_table())
        for group in range(file.num_row_groups):
            rows = pl.DataFrame(file.read_row_group(group)).filter(pl.col(columns.EVENT_TIMESTAMP) < start)
            found = _newest(pl.concat([found, rows]), keys)
    return found


def _newest(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The row of each key with the latest time; of several, the last one."""
    ordered = rows.sort(columns.EVENT_TIMESTAMP, maintain_order=True)
    return ordered.unique(keys, keep="last", maintain_order=True)
