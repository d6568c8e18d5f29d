"""The definition of a repeat, and the fitted discount: `data/evaluation/repeat_discount.json`."""

import json
from typing import TypedDict, TypeVar

from nightreel.core.artefacts import atomic_write
from nightreel.core.settings.needs import HomeNeeds, RankerNeeds

_Settings = TypeVar("_Settings", bound=RankerNeeds)

FITTED = "fitted"
_FILE = "repeat_discount.json"
# On fewer nights without a play, the user may have been away; rows further down are hardly seen.
REPEAT_NIGHTS, REPEAT_RANKS = 3, 20


class FittedDiscount(TypedDict):
    """What a fit has found: `discount` is used from then on.

    Attributes:
        model: the version whose lists were judged.
        gains: of each value that was tried, over no discount.
    """

    model: str
    discount: float
    nights_judged: int
    gains: list[dict[str, float]]


def discount_of(settings: RankerNeeds) -> float:
    """The discount that lists are made with: the setting, or the fitted one; 0 before any fit."""
    value = settings.lists.repeat_discount
    if value != FITTED:
        return float(value)
    try:
        content: FittedDiscount = json.loads((settings.paths.evaluation / _FILE).read_text(encoding="utf-8"))
        found = float(content["discount"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return found if 0 <= found < 1 else 0.0


def with_fitted_discount(settings: _Settings) -> _Settings:
    """The settings with the discount as a number; a run's record then says what it was."""
    if settings.lists.repeat_discount != FITTED:
        return settings
    return settings.changed({"lists.repeat_discount": discount_of(settings)})


def save_fit(settings: HomeNeeds, found: FittedDiscount) -> None:
    """Write what a fit has found, for the lists to come."""
    with atomic_write(settings.paths.evaluation / _FILE) as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
