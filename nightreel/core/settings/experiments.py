"""`[experiments]`: arms that users are hashed into, each with its own lists."""

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from nightreel.core.settings.lists import ListSettings
from nightreel.core.settings.section import Section

# Settings that an arm may change: those of lists that decide neither who gets one nor what may be in it.
OF_ARMS = (
    "ranker.filter_k",
    "retrieval.source_k",
    "lists.diversity",
    "lists.repeat_discount",
    "lists.explore_share",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ARMS_MAX = 20


class ArmSettings(Section):
    """One arm of an experiment.

    Attributes:
        share: of the users.
        model: the version that makes its lists, by default the champion.
        settings: by name, such as lists.diversity, if they differ from the other arms'.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    model: str | None = None
    settings: Mapping[str, float | int] = Field(default_factory=dict)

    @field_validator("settings", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """Tables of TOML as dotted names."""
        found: dict[str, Any] = {}
        for name, inner in value.items() if isinstance(value, Mapping) else ():
            is_table = isinstance(inner, Mapping)
            found |= {f"{name}.{own}": one for own, one in inner.items()} if is_table else {name: inner}
        unknown = sorted(set(found) - set(OF_ARMS))
        if unknown:
            raise ValueError(f"{unknown[0]!r}: an arm may set {', '.join(OF_ARMS)}")
        return found


class ExperimentSettings(Section):
    """An experiment; users are hashed with the salt, and the first arm is the baseline."""

    salt: str | None = Field(
        default=None,
        description="Hashed with each user's id to choose the arm; another salt assigns users to other arms.",
        min_length=1,
    )
    arms: Mapping[str, ArmSettings] = Field(
        default_factory=dict,
        description="Tables `[experiments.arms.NAME]`: share of the users, model version, settings of lists "
        "(docs/experiments.md).",
    )

    @field_validator("arms", mode="before")
    @classmethod
    def _of_environment(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("arms")
    @classmethod
    def _named(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        wrong = [name for name in value if not _NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"arm {wrong[0]!r}: write it in a-z, 0-9, _ and -, at most 64")
        if len(value) == 1 or len(value) > _ARMS_MAX:
            raise ValueError(f"arms: there are {len(value)}; there may be 2 to {_ARMS_MAX}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "ExperimentSettings":
        if not self.arms:
            return self
        if self.salt is None:
            raise ValueError("salt: arms need one")
        total = math.fsum(arm.share for arm in self.arms.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of the arms add up to {total:g}, not to 1")
        return self

    def notes_repeats(self, lists: ListSettings) -> bool:
        """Whether any arm's lists depend on what earlier lists showed without being played."""
        discounts = [arm.settings.get("lists.repeat_discount", 0) for arm in self.arms.values()]
        own = lists.repeat_discount
        return isinstance(own, str) or max([own, *discounts]) > 0
