"""Rows of users' lists in memory, a NumPy array a column: what scoring makes and publishing writes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pyarrow as pa

# Where a row came from.
HYBRID = "hybrid"  # the classifier's candidates in the regressor's order
POPULAR = "popular"  # for users of whom nothing is known: the best received videos
RULE = "rule"  # brought by a rule of the owner's, or to fill a list: no model scored it
REWATCH = "rewatch"  # for users who have seen every video: the hybrid's order of what they have seen

_LEFT_OUT = np.zeros(0)


@dataclass(frozen=True)
class Lists:
    """Rows of lists; all arrays have one entry per row.

    Attributes:
        user_id, video_id: int64.
        rank: int32, from 1.
        score: float64, what the list is ordered by, highest first.
        classifier_score, regressor_score, als_score: float64, NaN if that stage did not score the row.
        source: str, HYBRID, POPULAR, REWATCH or RULE.
        candidate_sources: str, comma-separated sources that returned the video; empty for a fallback's rows.
        rule: str, comma-separated rules that moved the row, such as `pin:3`; empty in the model's order.
        propensity: float64, probability of the video at this rank given the rows above, NaN if not drawn.
        arm: str, of an experiment, empty without one.
    """

    user_id: np.ndarray
    rank: np.ndarray
    video_id: np.ndarray
    score: np.ndarray
    classifier_score: np.ndarray
    regressor_score: np.ndarray
    als_score: np.ndarray
    source: np.ndarray
    candidate_sources: np.ndarray
    rule: np.ndarray = field(default_factory=lambda: _LEFT_OUT)
    propensity: np.ndarray = field(default_factory=lambda: _LEFT_OUT)
    arm: np.ndarray = field(default_factory=lambda: _LEFT_OUT)

    def __post_init__(self) -> None:
        """Rows that nothing has moved."""
        for name, value in (("rule", ""), ("propensity", np.nan), ("arm", "")):
            if getattr(self, name) is _LEFT_OUT:
                object.__setattr__(self, name, np.full(len(self.user_id), value))

    def __len__(self) -> int:
        return len(self.user_id)

    @classmethod
    def concatenate(cls, parts: Iterable["Lists"]) -> "Lists":
        """One after the other; at least one part."""
        found = list(parts)
        return cls(*(np.concatenate([getattr(part, one.name) for part in found]) for one in fields(cls)))

    def rows(self, chosen: slice | np.ndarray) -> "Lists":
        """Some of the rows."""
        return Lists(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def of_user(self, user_id: int, source: str) -> "Lists":
        """One user's list given to another as a fallback."""
        rows = len(self)
        return replace(
            self,
            user_id=np.full(rows, user_id),
            source=np.full(rows, source),
            candidate_sources=np.full(rows, ""),
        )


def joined_names(brought_by: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The comma-separated names whose bits are set, the first name's bit the lowest: str [rows].

    Args:
        brought_by: uint32 [rows].
    """
    codes, code = np.unique(brought_by, return_inverse=True)
    joined = [",".join(name for n, name in enumerate(names) if one >> n & 1) for one in codes.tolist()]
    found: np.ndarray = np.array(joined, dtype=np.str_)[code]
    return found


def distinct(texts: "np.ndarray | pa.ChunkedArray") -> tuple[list[str], np.ndarray]:
    """The texts without repeats, as they come, and which of them each row has: int64 [rows].

    By hashing; `np.unique` would sort every row's text.
    """
    column = pa.chunked_array([pa.array(texts, pa.string())]) if isinstance(texts, np.ndarray) else texts
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def in_batches(blocks: Iterable[Lists], rows: int) -> Iterator[list[Lists]]:
    """The blocks in batches of at least `rows` rows (except the last): small ones share a transaction."""
    waiting: list[Lists] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= rows:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
