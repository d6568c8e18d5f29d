"""The paths of a raw file's table, replaced rows and rejects, and of the new ones that ingest makes."""

import re
from datetime import datetime
from pathlib import Path

from nightreel.core.artefacts import carry_over, fingerprint_of_files
from nightreel.core.settings import Paths
from pipelines.ingest.merging import Known
from pipelines.ingest.raw_columns import RawFile

SUPERSEDED = "superseded"
# Characters of a pattern for several files.
_NOT_IN_NAMES = re.compile(r"[*?\[\]]")


def superseded_path(tables: Path, table: str) -> Path:
    """The rows of a table that deliveries replaced; the file is missing where there are none."""
    return tables / SUPERSEDED / f"{table}.parquet"


def rejects_path(rejects: Path, file: Path) -> Path:
    """The rejects of a raw file or of a delivery."""
    is_csv = file.suffix.casefold() == ".csv"
    name = _NOT_IN_NAMES.sub("_", file.stem if is_csv else file.name)
    return rejects / f"{name}.parquet"


class Output:
    """The folders of tables and rejects: the present ones, and the new ones while ingest runs.

    Attributes:
        earliest: by name of a changed raw file of plays, when its first differing play happened.
    """

    def __init__(self, paths: Paths, tables: Path, rejects: Path) -> None:
        self._now = {paths.tables: tables, paths.rejects: rejects}
        self.earliest: dict[str, datetime] = {}
        self.tables, self.rejects = paths.tables, paths.rejects

    def new(self, path: Path) -> Path:
        """The path at which the new file for `path` is made; its folder is created if missing."""
        for now, new in self._now.items():
            if now in path.parents:
                made = new / path.relative_to(now)
                made.parent.mkdir(parents=True, exist_ok=True)
                return made
        raise ValueError(f"{path} is not a file of tables or rejects")

    def known(self, file: RawFile) -> Known:
        """The file's present table."""
        return Known.read(self.tables / f"{file.table}.parquet", superseded_path(self.tables, file.table))

    def write(self, file: RawFile, known: Known) -> list[Path]:
        """Write a new table; returns its final paths."""
        table = self.tables / f"{file.table}.parquet"
        known.table.write_parquet(self.new(table), statistics=True)
        if not known.superseded.height:
            return [table]
        superseded = superseded_path(self.tables, file.table)
        known.superseded.write_parquet(self.new(superseded), statistics=True)
        return [table, superseded]

    def keep(self, path: Path) -> None:
        """Carry over a file that has not changed."""
        if path.is_file() and not self.new(path).exists():
            carry_over(path, self.new(path))

    def stamps(self, paths: list[Path]) -> dict[str, list[int]]:
        """Stamps of the new files under their final names."""
        return {str(path): fingerprint_of_files([self.new(path)])[str(self.new(path))] for path in paths}
