"""The paths of everything below a home."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Every file and folder that nightreel writes, below one home."""

    home: Path

    @property
    def data(self) -> Path:
        """All that nightreel writes, except settings and raw files."""
        return self.home / "data"

    @property
    def tables(self) -> Path:
        """Validated tables, one parquet file each; plays, exposures and daily records are folders of days."""
        return self.data / "tables"

    @property
    def interactions(self) -> Path:
        """The table of plays: a folder per local day (nightreel/core/play_days.py)."""
        return self.tables / "interactions"

    @property
    def video_daily(self) -> Path:
        """The table of videos' daily records: a folder per local day, like that of plays."""
        return self.tables / "video_daily"

    @property
    def ids(self) -> Path:
        """Text ids and their codes: a file for users, one for videos and so on."""
        return self.data / "ids"

    @property
    def retrieval(self) -> Path:
        """Fitted candidate sources, one folder per cutoff."""
        return self.data / "retrieval"

    @property
    def rejects(self) -> Path:
        """Rows that ingest refused, a file per raw file."""
        return self.data / "rejects"

    @property
    def features(self) -> Path:
        """Parquet sources of the feature views, one file per view."""
        return self.data / "features"

    @property
    def registry(self) -> Path:
        """Feast's registry."""
        return self.data / "registry.db"

    @property
    def online_store(self) -> Path:
        """Feast's online store, where it is SQLite."""
        return self.data / "online_store.db"

    @property
    def models(self) -> Path:
        """Model versions, one folder each."""
        return self.data / "models"

    @property
    def evaluation(self) -> Path:
        """Figures of the evaluation."""
        return self.data / "evaluation"

    @property
    def backtest(self) -> Path:
        """Lists of past days as they would have been published, one folder per day."""
        return self.data / "backtest"

    @property
    def tuning(self) -> Path:
        """The studies of `nightreel tune`."""
        return self.data / "tuning"

    @property
    def state(self) -> Path:
        """Records of what each step did last, so that it can be skipped."""
        return self.data / "state"

    @property
    def shared(self) -> Path:
        """Files that a cluster's nodes exchange, unless `shared_dir` names another folder."""
        return self.data / "shared"

    @property
    def sqlite(self) -> Path:
        """The published table, where no other database is set."""
        return self.data / "nightreel.sqlite"

    def table(self, name: str) -> Path:
        """The file of a validated table."""
        return self.tables / f"{name}.parquet"

    def feature_source(self, view: str) -> Path:
        """The parquet source of a feature view."""
        return self.features / f"{view}.parquet"
