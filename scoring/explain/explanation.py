"""An explanation as plain values, for text, JSON and pages."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from nightreel.core.errors import InputError

# Why a video is not in a list, by the stage that left it out.
UNKNOWN = "unknown"
NOT_LISTABLE = "not_listable"
BLOCKED = "blocked"
SEEN = "seen"
NO_CANDIDATE = "no_candidate"
FILTERED = "filtered"
CAPPED = "capped"
MOVED = "moved"
BELOW_K = "below_k"


class NoListError(InputError):
    """The user has no list in the run, so there is nothing to explain."""


@dataclass(frozen=True)
class Reason:
    """Why the video is not in the list: one of the codes above, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Contribution:
    """The contribution of a feature to a model's raw score of the pair, from LightGBM's `pred_contrib`.

    Attributes:
        value: as the model read it; a category by its name; None if unknown.
    """

    model: str
    feature: str
    value: float | int | str | None
    contribution: float


@dataclass(frozen=True)
class Nearby:
    """A video that the user has played and that is near to the explained one.

    Attributes:
        by: `item_knn` (liked by the same users), `als` (cosine of the factors) or `text` (cosine of the
            captions' TF-IDF).
    """

    video_id: int | str
    by: str
    nearness: float
    played_at: datetime
    watch_ratio: float
    liked: bool
    caption: str | None


@dataclass(frozen=True)
class Explanation:
    """Why a video has its rank in a user's list, or is not in it.

    Attributes:
        rank, source and the scores: from the stored row, None if there is none.
        position: in the order before the list was cut, from 1; None if the video was not ordered.
        candidate_sources: those that returned the video.
        features: the strongest of each model that filtered or ordered.
        rule: what put the row at its rank; None if the model's order did.
        remark: why this explanation may not match the stored list.
    """

    user_id: int | str
    video_id: int | str
    run_id: int
    as_of: datetime
    model_version: str
    objective: str
    rank: int | None
    position: int | None
    reason: Reason | None
    source: str | None
    score: float | None
    classifier_score: float | None
    regressor_score: float | None
    als_score: float | None
    candidate_sources: tuple[str, ...]
    features: tuple[Contribution, ...]
    nearby: tuple[Nearby, ...]
    remark: str | None
    rule: str | None = None

    @property
    def listed(self) -> bool:
        """Whether the video is in the list."""
        return self.rank is not None

    def to_dict(self) -> dict[str, Any]:
        """The same as nested dictionaries and lists."""
        return {"listed": self.listed} | asdict(self)
