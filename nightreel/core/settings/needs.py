"""What functions that read several sections need of the settings; `Settings` has all of it.

One that reads one or two sections takes these themselves. For more, a class here names the sections, and the
type checker sees that nothing else is read.
"""

from typing import Protocol
from zoneinfo import ZoneInfo

from nightreel.core.settings.browse import BrowseSettings
from nightreel.core.settings.data import DataSettings
from nightreel.core.settings.database import DatabaseSettings
from nightreel.core.settings.evaluation import EvaluationSettings
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.features import FeatureSettings
from nightreel.core.settings.lists import ListSettings
from nightreel.core.settings.paths import Paths
from nightreel.core.settings.ranker import RankerSettings
from nightreel.core.settings.retrieval import RetrievalSettings
from nightreel.core.settings.schedule import ScheduleSettings


class DatabaseNeeds(Protocol):
    """The database of the published table."""

    @property
    def paths(self) -> Paths: ...

    @property
    def database(self) -> DatabaseSettings: ...

    @property
    def sqlalchemy_url(self) -> str: ...


class LogNeeds(Protocol):
    """The log and the tables made from it."""

    @property
    def paths(self) -> Paths: ...

    @property
    def data(self) -> DataSettings: ...


class ListNeeds(LogNeeds, Protocol):
    """The log, and how long lists are and what may stand in them."""

    @property
    def lists(self) -> ListSettings: ...


class FeatureNeeds(LogNeeds, Protocol):
    """The log, and what is computed of users and videos."""

    @property
    def features(self) -> FeatureSettings: ...


class FitNeeds(FeatureNeeds, Protocol):
    """Features, and what a fit on them repeats by."""

    @property
    def seed(self) -> int: ...

    @property
    def threads(self) -> int: ...


class RankerNeeds(FitNeeds, ListNeeds, Protocol):
    """Features, the models that are fitted on them, and the plays and lists that judge these."""

    @property
    def ranker(self) -> RankerSettings: ...

    @property
    def retrieval(self) -> RetrievalSettings: ...

    @property
    def evaluation(self) -> EvaluationSettings: ...


class PublishNeeds(DatabaseNeeds, ListNeeds, Protocol):
    """The database, and whose lists are written to it."""

    @property
    def experiments(self) -> ExperimentSettings: ...

    @property
    def notes_repeats(self) -> bool: ...


class PageNeeds(DatabaseNeeds, FeatureNeeds, ListNeeds, Protocol):
    """What the pages show: the published table, the log and the features."""

    @property
    def browse(self) -> BrowseSettings: ...


class ScheduleNeeds(DatabaseNeeds, LogNeeds, Protocol):
    """When the night is due, and whether it was done."""

    @property
    def schedule(self) -> ScheduleSettings: ...

    @property
    def zone_of_schedule(self) -> ZoneInfo: ...
