"""Rows drawn at random: some ranks get one of the next rows of the order, by a softmax of their scores.

Draws come from a hash of the seed, the night, the user and the rank, so that a replay draws the same; and
from integers, so that the logged probability is exactly that of the draw.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

_UNIT = 2**40
# The first rows get the most attention, so none of them is drawn. Each later one is drawn from this many of
# the order's next rows, by a softmax of their scores in standard deviations divided by the temperature.
EXPLORE_AFTER, EXPLORE_AMONG, EXPLORE_TEMPERATURE = 10, 50, 1.0


@dataclass(frozen=True)
class Exploration:
    """Which rows are drawn, and from which candidates.

    Attributes:
        share: of a list's rows, all of them below the first `after`.
        among: number of next rows that one is drawn from.
        temperature: of the softmax, in standard deviations of their scores.
        night: makes draws differ between nights.
    """

    share: float
    after: int
    among: int
    temperature: float
    night: str

    def of_list(self, user_id: int, rows: int, scores: np.ndarray) -> "DrawsOfList":
        """The draws of one user's list of `rows` rows, given the scores of the order, best first."""
        ranks = range(self.after + 1, rows + 1)
        asked = min(int(self.share * rows + 0.5), len(ranks))
        by_chance = sorted(ranks, key=lambda rank: _number(self.night, user_id, rank, "rank"))
        return DrawsOfList(self, user_id, frozenset(by_chance[:asked]), scores)


@dataclass(frozen=True)
class DrawsOfList:
    """The draws of one list; `ranks` are the drawn ones. Rows without a score get the lowest one."""

    of: Exploration
    user_id: int
    ranks: frozenset[int]
    scores: np.ndarray

    def is_drawn(self, rank: int) -> bool:
        """Whether the row at a rank is drawn."""
        return rank in self.ranks

    def one_of(self, rank: int, rows: np.ndarray) -> tuple[int, float]:
        """One of the first of these rows, and its probability."""
        among = rows[: self.of.among]
        weights = self.weights(among)
        ends = np.cumsum(weights)
        total = int(ends[-1])
        drawn = _number(self.of.night, self.user_id, rank, "row") * total >> 128
        at = int(np.searchsorted(ends, drawn, side="right"))
        return int(among[at]), int(weights[at]) / total

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Integers proportional to the softmax, each at least 1."""
        least = self.scores[-1] if len(self.scores) else 0.0
        scores = np.full(len(rows), least)
        known = rows < len(self.scores)
        scores[known] = self.scores[rows[known]]
        spread = scores.std()
        standard = (scores - scores.max()) / spread if spread > 0 else np.zeros(len(rows))
        found: np.ndarray = 1 + np.floor(np.exp(standard / self.of.temperature) * _UNIT).astype(np.int64)
        return found


def _number(night: str, user_id: int, rank: int, what: str) -> int:
    """A number from 0 to 2**128 - 1, evenly."""
    said = f"{night}|{user_id}|{rank}|{what}".encode()
    return int.from_bytes(blake2b(said, digest_size=16).digest())
