"""The protocol of a candidate source; each other file of this package implements it once."""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from implicit.utils import ParameterWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past

# Plays that item-to-item and factor models are fitted on at most; of a larger log, those of some users.
PLAYS_MAX = 2_000_000

Arrays = Mapping[str, np.ndarray]
# Versions of formats of fits that have changed. They are part of the file's name, so that fits of an earlier
# nightreel are not read.
_FORMATS = {"sequence": 2}
_implicit = threading.RLock()  # its settings hold for the whole process


def file_of_fit(name: str) -> str:
    """The file name of the fits of one of nightreel's own sources."""
    return f"{name}@{_FORMATS[name]}.npz" if name in _FORMATS else f"{name}.npz"


@contextmanager
def implicit_alone() -> Iterator[None]:
    """Run a model of implicit with one BLAS thread, as it requires, and without its format warnings."""
    with _implicit, threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)
        yield


class Fitted(Protocol):
    """A fitted source over the videos of a catalogue."""

    def scores(self, histories: Histories) -> np.ndarray:
        """How well each video fits each user, higher is better: float32 [users, videos].

        A user's row depends on no other user. Scores of two sources cannot be compared.
        """


@runtime_checkable
class KnowsUsers(Protocol):
    """A fitted source that may have scores for users who have not played anything."""

    def knows(self, user_id: np.ndarray) -> np.ndarray:
        """Whether it knows each of these users: bool [users]."""


class Source(Protocol):
    """One way to find candidates. Seeded: the same plays and settings give the same arrays."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Learn from plays strictly before the cutoff; returns arrays over `past.video_id`."""

    def over(self, arrays: Arrays, catalogue: "Catalogue") -> Fitted:
        """The result of `fit`, ready to score the videos of a catalogue."""


@runtime_checkable
class LearnsFromMore(Protocol):
    """A source that also learns from data other than plays, which may change after a fit was kept."""

    def is_current(self, arrays: Arrays, past: Past, settings: SourceNeeds) -> bool:
        """Whether a kept fit on these plays is what `fit` would return now."""


@dataclass(frozen=True)
class Catalogue:
    """The videos to be scored, and their columns for the videos that a source knows.

    Attributes:
        video_id: int64, ascending.
        columns: int64 [videos of the past], position of each in `video_id`.
        author, category: int64 [videos], negative where unknown.
        uploaded_us: int64 [videos], microseconds since 1970 UTC.
        received: int64 [videos], from `ordering.received`; decides between videos of equal scores.
    """

    video_id: np.ndarray
    columns: np.ndarray
    author: np.ndarray
    category: np.ndarray
    uploaded_us: np.ndarray
    received: np.ndarray

    def __len__(self) -> int:
        return len(self.video_id)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of the videos of the past, spread over the whole catalogue: float32, 0 for the others.

        Args:
            values: [..., videos of the past].
        """
        found = np.zeros((*values.shape[:-1], len(self)), dtype=np.float32)
        found[..., self.columns] = values
        return found


@dataclass(frozen=True)
class SameForAll:
    """Scores that do not depend on the user: float32 [videos]."""

    values: np.ndarray

    def scores(self, histories: Histories) -> np.ndarray:
        """The same row for each user."""
        found: np.ndarray = np.broadcast_to(self.values, (len(histories.plays), len(self.values)))
        return found
