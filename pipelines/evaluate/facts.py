"""The facts of an evaluation, for the command line and the report: what was ranked, each system's figures."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from nightreel.core.steps import Facts


class SampleRow(TypedDict):
    """A row of one user's list, with what the user really did; `samples.json` has a few users' lists."""

    protocol: str
    user_id: int
    rank: int
    video_id: int
    length_s: float
    watch_ratio: float
    liked: bool


class JudgedFacts(Facts):
    """What every protocol reports: `by_label`, for each label a row per system with its figures."""

    def printed(self) -> dict[str, Any]:
        """Each label's table under a name of its own."""
        found: dict[str, Any] = {}
        for name, value in super().printed().items():
            if name == "by_label":
                found |= {f"by_label_{label}": rows for label, rows in value.items()}
            else:
                found[name] = value
        return found


class NextDayFacts(JudgedFacts):
    """What `next_day` reports: a verdict, the outcomes of each day, and where the training data end."""

    verdict: str
    by_label: Mapping[str, Sequence[Mapping[str, Any]]]
    days: Sequence[Mapping[str, Any]]
    rankers_trained_before: str


class SharedFacts(JudgedFacts):
    """What shared lists report: the number of users behind the figures, and the figures."""

    users: int
    by_label: Mapping[str, Sequence[Mapping[str, Any]]]


class ProtocolFacts(JudgedFacts):
    """What the other protocols report: the ranked videos, the users, and what the validation users chose."""

    ranks: str
    features_as_of: str
    pairs: int
    users: int
    users_with_a_liked_video: int
    validation_users: int
    liked_share: Mapping[str, float]
    blend_weights: Mapping[str, float]
    hybrid_by_filter_k_on_the_tuning_users: Mapping[str, Any]
    by_label: Mapping[str, Sequence[Mapping[str, Any]]]


class EvaluateFacts(Facts):
    """The model, and the report of each protocol that the data allow.

    Attributes:
        repeat_discount: what was fitted, if the settings ask for it.
    """

    model: str
    next_day: NextDayFacts | None = None
    repeat_discount: Mapping[str, Any] | None = None
    shared: Mapping[str, SharedFacts] = {}
    protocols: Mapping[str, ProtocolFacts] = {}

    def printed(self) -> dict[str, Any]:
        """Each protocol under its name."""
        found = super().printed()
        shared: dict[str, Any] = found.pop("shared")
        protocols: dict[str, Any] = found.pop("protocols")
        return found | shared | protocols
