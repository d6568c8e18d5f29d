"""What the classifier learns if all training plays are liked, or none is.

A classifier trained on one class gives all videos the same score, so its filter would keep arbitrary ones. In
this case it learns the amounts, as the regressor does: even if no play reaches `like_threshold`, some come
nearer to it than others. If the amounts are all equal, too, the objective `shown` has nothing to learn;
`next_day` can still learn which videos are played.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nightreel.core.errors import InputError
from nightreel.core.logs import get_logger
from nightreel.core.settings import DataSettings, RankerSettings
from pipelines.labels import RATIO, Targets

# If fewer plays than this share are liked, or fewer are not, a classifier has hardly anything to learn from.
_LEAST_SHARE = 0.001
_OF_LIKED: dict[str, Any] = {"objective": "binary", "metric": "binary_logloss"}
_OF_AMOUNTS: dict[str, Any] = {"objective": "cross_entropy", "metric": "cross_entropy"}

_log = get_logger(__name__)


def classifier_target(targets: Targets, fit: slice) -> tuple[np.ndarray, dict[str, Any]]:
    """What the classifier learns of all plays, 0 to 1, and LightGBM's objective for it.

    Args:
        fit: the plays that are fitted on; they alone decide.
    """
    if _has_both_classes(targets.liked[fit]):
        return targets.liked, _OF_LIKED
    return targets.amount / np.float32(targets.top), _OF_AMOUNTS


@dataclass(frozen=True)
class Classes:
    """The classes of the plays that are fitted on.

    Attributes:
        highest: the largest watch_ratio among them.
    """

    plays: int
    liked: int
    highest: float
    amounts_differ: bool

    @classmethod
    def of(cls, targets: Targets, watch_ratio: np.ndarray, fit: slice) -> "Classes":
        """Count.

        Args:
            targets, watch_ratio: of all plays.
        """
        liked, amount = targets.liked[fit], targets.amount[fit]
        return cls(
            len(liked),
            int(liked.sum()),
            float(watch_ratio[fit].max(initial=0.0)),
            bool(len(amount)) and bool((amount != amount[0]).any()),
        )

    @property
    def liked_share(self) -> float:
        """Share of the plays that are liked."""
        return self.liked / max(self.plays, 1)

    @property
    def classifier_learns(self) -> str:
        """The classifier's target: whether plays are `liked`, or their `amount` if that has one class."""
        return "amount" if self.is_missing_one else "liked"

    @property
    def is_missing_one(self) -> bool:
        """Whether all plays are of one class."""
        return self.liked in (0, self.plays)

    def warn(self, data: DataSettings, ranker: RankerSettings) -> None:
        """Log how many plays are liked if that leaves the classifier little to learn."""
        if _LEAST_SHARE <= self.liked_share <= 1 - _LEAST_SHARE:
            return
        meaning = "the classifier has hardly anything to learn from"
        if self.liked == self.plays and ranker.objective != "shown":
            meaning = "usual in a log of likes or purchases, from which only objective next_day can learn"
        elif self.is_missing_one:
            meaning = "the classifier cannot tell liked plays from others"
            if self.amounts_differ:
                meaning += " and learns from watch_ratio itself"
        _log.warning(
            f"liked plays are {self.liked_share:.3%} of those to learn from ({self.liked} of {self.plays}): "
            f"{meaning}; check {_rule(data)} against watch_ratio, "
            f"which is {self.highest:.4g} at most"
        )

    def require_something_to_learn(self, data: DataSettings, ranker: RankerSettings) -> None:
        """Raise InputError where neither the classes nor the amounts of the plays differ."""
        if not self.is_missing_one or self.amounts_differ:
            return
        if self.highest <= 0:
            remedy = "Check watch_ratio, or play_duration, in the log."
        elif not self.liked:
            label = "" if data.targets.label == RATIO else f"[data.targets] label = {RATIO} and "
            remedy = (
                f"Set {label}[data.targets] like_threshold below {self.highest:.4g}, or check watch_ratio."
            )
        elif ranker.objective == "shown":
            remedy = "Set [ranker] objective = next_day, which learns from more, or check watch_ratio."
        else:
            remedy = "Ingest a longer log: next_day learns from videos without a play, over several days."
        raise InputError(
            f"interactions: of the {self.plays} plays that models are fitted on {self.liked_share:.3%} are "
            f"liked ({_rule(data)}), and watch_ratio is "
            f"{self.highest:.4g} in all of these: there is nothing to learn.",
            remedy,
        )


def _has_both_classes(liked: np.ndarray) -> bool:
    return bool(liked.any() and not liked.all())


def _rule(settings: DataSettings) -> str:
    """The setting that says which plays are liked, as in the file."""
    if settings.targets.label == RATIO:
        return f"[data.targets] like_threshold = {settings.targets.like_threshold:g}"
    return f"[data.targets] label = {settings.targets.label}"
