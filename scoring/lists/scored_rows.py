"""Rows of some users, and what the next day's ranker says of them."""

from dataclasses import dataclass

import numpy as np

from pipelines.model_rows.night import Night, Rows
from pipelines.model_rows.ordering import best_positions, in_turn
from pipelines.rankers.filtering import hybrid_order
from pipelines.rankers.next_day import NextDayRanker
from scoring.lists.candidates import Cap, first_within_caps


@dataclass(frozen=True)
class ScoredRows:
    """Rows of some users with the ranker's scores, one entry per row.

    Attributes:
        video: int64, its position in the candidates.
        received: int64, as `ordering.received` has it.
        probability, ordering: float64; the latter only if `order` was asked for it.
    """

    rows: Rows
    ranker: NextDayRanker
    video: np.ndarray
    received: np.ndarray
    probability: np.ndarray
    ordering: np.ndarray
    common: np.ndarray | None

    @classmethod
    def of(
        cls,
        rows: Rows,
        night: Night,
        received: np.ndarray,
        ranker: NextDayRanker,
        common: np.ndarray | None,
    ) -> "ScoredRows":
        """The scores of these rows.

        Args:
            received: of the night's listable videos.
            common: of the videos of its catalogue, None if not needed.
        """
        video = night.joined_video[rows.video]
        probability = ranker.probability(rows.features)
        of_rows = None if common is None else common[rows.video]
        return cls(rows, ranker, video, received[video], probability, np.full(len(video), np.nan), of_rows)

    def order(self, rows: np.ndarray) -> None:
        """Compute the ranker's order of these rows."""
        self.ordering[rows] = self._ordering_of(rows)

    def _ordering_of(self, rows: np.ndarray) -> np.ndarray:
        features = self.rows.features[rows]
        ordering = self.ranker.ordering(features, self.probability[rows])
        return ordering if self.common is None else self.ranker.shrunk(ordering, self.common[rows], features)

    def kept(self, part: slice, most: int) -> np.ndarray:
        """The rows of one user that the filter keeps, ascending."""
        probability = self.probability[part]

        def tie_break(tied: np.ndarray) -> np.ndarray:
            rows = part.start + tied
            return in_turn(self._ordering_of(rows), self.received[rows])

        among = np.ones(len(probability), dtype=bool)
        found: np.ndarray = part.start + best_positions(probability, among, most, tie_break)
        return found

    def first_within_caps(self, rows: np.ndarray, caps: tuple[Cap, ...], most: int) -> np.ndarray:
        """The first of one user's ordered rows, best first, each where the caps have room for it."""
        best = hybrid_order(
            self.probability[rows],
            self.ordering[rows],
            self.video[rows],
            len(rows),
            received=self.received[rows],
        )
        order = rows[best]
        taken = first_within_caps(self.video[order], caps, most)
        found: np.ndarray = order[np.isin(self.video[order], taken)]
        return found
