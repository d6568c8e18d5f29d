"""Everything that a user can set: a few settings of the whole home, and sections."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from nightreel.core.settings.browse import BrowseSettings
from nightreel.core.settings.cluster import ClusterSettings
from nightreel.core.settings.data import DataSettings
from nightreel.core.settings.database import DatabaseSettings
from nightreel.core.settings.evaluation import EvaluationSettings
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.features import FeatureSettings
from nightreel.core.settings.lists import ListSettings
from nightreel.core.settings.names import FOLLOWS, every_setting, expanded
from nightreel.core.settings.paths import Paths
from nightreel.core.settings.ranker import RankerSettings
from nightreel.core.settings.retrieval import RetrievalSettings
from nightreel.core.settings.schedule import ScheduleSettings
from nightreel.core.settings.sources import Environment, Given

_Model = TypeVar("_Model", bound=BaseModel)


class Settings(BaseSettings):
    """The home and its sections. Units are in the names; shares are between 0 and 1.

    A setting's name is its section's and its own, with a dot between: `lists.top_k`. A function takes
    the sections that it reads; only what starts steps takes all of them.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    home: Path = Field(
        description="Folder that everything is written below; or a URL (`s3://`, `gs://`, `file://`) that is "
        "fetched into a working folder before a step and sent back after it (docs/scale.md)."
    )
    home_url: str | None = Field(
        default=None, description="The home's URL, where `home` was one.", json_schema_extra=FOLLOWS
    )
    seed: int = Field(default=20200705, description="Seed of every random choice.", ge=0, lt=2**31)
    threads: int = Field(
        default=2, description="Threads of ALS and LightGBM; a fixed number, for determinism.", ge=1
    )
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    ranker: RankerSettings = RankerSettings()
    lists: ListSettings = ListSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    database: DatabaseSettings = DatabaseSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    cluster: ClusterSettings = ClusterSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    browse: BrowseSettings = BrowseSettings()

    @field_validator("experiments")
    @classmethod
    def _arms_within_limits(cls, value: ExperimentSettings) -> ExperimentSettings:
        for arm, of_arm in value.arms.items():
            for name, given in of_arm.settings.items():
                field = every_setting(cls)[name].field
                kind: Any = Annotated[(field.annotation, *field.metadata)]
                adapter: TypeAdapter[Any] = TypeAdapter(kind)
                try:
                    adapter.validate_python(given)
                except ValidationError as error:
                    said = error.errors(include_url=False)[0]["msg"]
                    raise ValueError(f"arm {arm}, {name} = {given}: {said}") from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values are passed in at construction."""
        return Environment(settings_cls), Given(settings_cls, init_settings)

    @property
    def notes_repeats(self) -> bool:
        """Whether any arm's lists depend on what earlier lists showed without being played."""
        return self.experiments.notes_repeats(self.lists)

    @property
    def zone_of_schedule(self) -> ZoneInfo:
        """The time zone of the schedules."""
        return self.schedule.zone_of(self.data)

    @cached_property
    def paths(self) -> Paths:
        """The paths below `home`."""
        return Paths(self.home)

    @property
    def sqlalchemy_url(self) -> str:
        """The database to publish to, with its password: never log or print this."""
        if self.database.url is None:
            return f"sqlite:///{self.paths.sqlite}"
        return self.database.url.get_secret_value()

    def value(self, name: str) -> Any:
        """The setting with this name, like `lists.top_k`; a section's name gives the whole section."""
        found: Any = self
        path = every_setting(type(self))[name].path if name in every_setting(type(self)) else name.split(".")
        for part in path:
            found = None if found is None else getattr(found, part)
        return found

    def chosen(self, names: Iterable[str]) -> dict[str, Any]:
        """The settings with these names as plain values. A section's name stands for all of its settings."""
        values = {name: self.value(name) for name in sorted(names)}
        return {
            name: value.model_dump() if isinstance(value, BaseModel) else value
            for name, value in values.items()
        }

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """A copy with other values by name: {"lists.top_k": 5}. Like `model_copy`, it validates nothing."""
        return _copied(self, expanded(values))


def _copied(model: _Model, values: Mapping[str, Any]) -> _Model:
    """A copy, its sections copied where only some of their settings change."""
    updates = {}
    for name, value in values.items():
        before = getattr(model, name)
        is_part = isinstance(value, Mapping) and isinstance(before, BaseModel)
        updates[name] = _copied(before, value) if is_part else value
    copied = model.model_copy(update=updates)
    # It was computed from the earlier values.
    copied.__dict__.pop("paths", None)
    return copied
