"""The settings that functions need from several sections, as protocols; `Settings` has all of them.

One that reads one or two sections takes these themselves. For more, a class here names the sections, and the
type checker sees that nothing else is read.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo

from nightreel.core.settings.browse import BrowseSettings
from nightreel.core.settings.cluster import ClusterSettings
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


class HomeNeeds(Protocol):
    """The files of the home, and the values of settings, by name, that a step or a fit records."""

    @property
    def home(self) -> Path: ...

    @property
    def paths(self) -> Paths: ...

    def value(self, name: str) -> Any:
        """As `Settings.value`."""

    def chosen(self, names: Iterable[str]) -> dict[str, Any]:
        """As `Settings.chosen`."""


class DatabaseNeeds(HomeNeeds, Protocol):
    """The database of the published table."""

    @property
    def database(self) -> DatabaseSettings: ...

    @property
    def sqlalchemy_url(self) -> str: ...


class LogNeeds(HomeNeeds, Protocol):
    """The log and the tables made from it."""

    @property
    def data(self) -> DataSettings: ...


class MirrorNeeds(LogNeeds, Protocol):
    """A home, and the URL that it is kept at."""

    @property
    def home_url(self) -> str | None: ...


class ListNeeds(LogNeeds, Protocol):
    """The log, the length of lists, and what may be in them."""

    @property
    def lists(self) -> ListSettings: ...


class FeatureNeeds(LogNeeds, Protocol):
    """The log, the features of users and videos, and where they are computed."""

    @property
    def features(self) -> FeatureSettings: ...

    @property
    def cluster(self) -> ClusterSettings: ...


class FitNeeds(FeatureNeeds, Protocol):
    """Features, and the seed and threads that make a fit on them repeatable."""

    @property
    def seed(self) -> int: ...

    @property
    def threads(self) -> int: ...


class SourceNeeds(FitNeeds, ListNeeds, Protocol):
    """Features and candidate sources."""

    @property
    def retrieval(self) -> RetrievalSettings: ...


class RankerNeeds(SourceNeeds, Protocol):
    """Features and sources, the models that are fitted on them, and the plays and lists that judge these."""

    @property
    def ranker(self) -> RankerSettings: ...

    @property
    def evaluation(self) -> EvaluationSettings: ...

    def changed(self, values: Mapping[str, Any]) -> Self:
        """As `Settings.changed`."""


class PublishNeeds(DatabaseNeeds, ListNeeds, Protocol):
    """The database, and whose lists are written to it."""

    @property
    def experiments(self) -> ExperimentSettings: ...

    @property
    def notes_repeats(self) -> bool: ...


class NightNeeds(RankerNeeds, PublishNeeds, Protocol):
    """The settings for making and publishing a night's lists; without its schedule and the pages."""


class PageNeeds(FeatureNeeds, DatabaseNeeds, ListNeeds, Protocol):
    """The settings of the pages: the published table, the log and the features."""

    @property
    def browse(self) -> BrowseSettings: ...


class BrowseNeeds(NightNeeds, PageNeeds, Protocol):
    """The settings of the pages, and those for making a list again to explain it."""


class ScheduleNeeds(DatabaseNeeds, LogNeeds, Protocol):
    """When the night is due, and whether it was done."""

    @property
    def schedule(self) -> ScheduleSettings: ...

    @property
    def zone_of_schedule(self) -> ZoneInfo: ...


class BackfillNeeds(NightNeeds, ScheduleNeeds, Protocol):
    """The settings for making lists, and when each night's were due."""


class ForgetNeeds(NightNeeds, MirrorNeeds, Protocol):
    """The settings for removing a user from the home and its database, and for fitting the models again."""
