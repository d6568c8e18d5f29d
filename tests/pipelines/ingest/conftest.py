"""A raw log to spoil, and what ingest makes of it."""

from pathlib import Path

import polars as pl
import pytest

from nightreel.core.settings import Settings
from pipelines.ingest import ingest
from tests.fixtures.raw_log import RawLog
from tests.fixtures.tables import read_table


class Ingested:
    """A home with its raw files: ingest them, look at the tables and the rejects."""

    def __init__(self, folder: Path) -> None:
        self.raw = RawLog()
        self.folder = folder

    def settings(self, **changes: object) -> Settings:
        """The home's settings; half of the rows may be bad."""
        given = {
            "home": self.folder / "home",
            "data.raw_dir": self.folder / "raw",
            "data.max_reject_share": 0.9,
        }
        return Settings.model_validate({**given, **changes})

    def run(self, **changes: object) -> Settings:
        """Write the raw files and ingest them."""
        made = self.settings(**changes)
        self.raw.write(made.data.raw_dir)
        ingest(made)
        return made

    def table(self, name: str) -> pl.DataFrame:
        """A table as it is now."""
        return read_table(self.settings(), name)

    def rejects(self, file: str) -> list[tuple[int, str]]:
        """Line and reason of each rejected row of a raw file."""
        path = self.settings().paths.rejects / f"{Path(file).stem}.parquet"
        return pl.read_parquet(path)["line", "reason"].rows() if path.exists() else []


@pytest.fixture
def ingested(tmp_path: Path) -> Ingested:
    """A home of its own."""
    return Ingested(tmp_path)
