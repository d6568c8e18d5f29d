"""Where everything stands below a home."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Every file and folder that nightreel writes, below one home."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def tables(self) -> Path:
        """Validated tables, one parquet file each."""
        return self.data / "tables"

    @property
    def ids(self) -> Path:
        """Ids that are text, with their codes: a file for users, for videos and so on."""
        return self.data / "ids"

    @property
    def retrieval(self) -> Path:
        """What candidate sources have learnt, a folder a cutoff."""
        return self.data / "retrieval"

    @property
    def rejects(self) -> Path:
        return self.data / "rejects"

    @property
    def features(self) -> Path:
        """Parquet sources of the feature views, one file a view."""
        return self.data / "features"

    @property
    def registry(self) -> Path:
        return self.data / "registry.db"

    @property
    def online_store(self) -> Path:
        return self.data / "online_store.db"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def evaluation(self) -> Path:
        return self.data / "evaluation"

    @property
    def backtest(self) -> Path:
        """Lists of past days, as they would have been published: a folder a day."""
        return self.data / "backtest"

    @property
    def tuning(self) -> Path:
        """The studies of `nightreel tune`."""
        return self.data / "tuning"

    @property
    def state(self) -> Path:
        """What each step did last, so that it can be skipped."""
        return self.data / "state"

    @property
    def shared(self) -> Path:
        """What the nodes of a cluster hand to each other, where `shared_dir` names no other place."""
        return self.data / "shared"

    @property
    def sqlite(self) -> Path:
        return self.data / "nightreel.sqlite"

    def table(self, name: str) -> Path:
        return self.tables / f"{name}.parquet"

    def feature_source(self, view: str) -> Path:
        return self.features / f"{view}.parquet"
