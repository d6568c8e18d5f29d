"""How popular each video was when a play is predicted: its liked plays before that play's own day."""

from dataclasses import dataclass

import numpy as np

from nightreel.core.instants import DAY_US
from pipelines.retrieval.sequence.timelines import Timelines

# In a longer log, periods are longer than a day.
_PERIODS_MAX = 64
# One row before all periods, and one for each of their borders.
ROWS_MAX = _PERIODS_MAX + 2


@dataclass(frozen=True)
class Popularity:
    """Liked plays as known at the beginnings of periods, of a day each in a log of up to two months.

    Attributes:
        begins_us: int64 [periods], ascending.
        log_liked: float32 [periods + 1, videos], log(1 + the fading sum of liked plays strictly before each);
            the first row, of zeros, is of plays before all of them.
    """

    begins_us: np.ndarray
    log_liked: np.ndarray

    @classmethod
    def of(
        cls, plays: Timelines, borders: np.ndarray, until_us: int, half_life_days: float | None, videos: int
    ) -> "Popularity":
        """Count the liked plays before users' borders.

        Args:
            borders: int64 [users], the position after each user's last play that may be learnt from.
            until_us: where the last period begins.
        """
        likes = plays.likes[plays.likes < np.repeat(borders, np.diff(plays.starts))[plays.likes]]
        at_us, video = plays.at_us[likes], plays.video[likes]
        first_us = int(at_us.min(initial=until_us))
        days = -(-(until_us - first_us) // DAY_US)
        period_us = DAY_US * max(1, -(-days // _PERIODS_MAX))
        count = -(-(until_us - first_us) // period_us)
        begins_us = until_us - period_us * np.arange(count, -1, -1)
        period = np.searchsorted(begins_us, at_us, side="right")
        found = np.zeros((len(begins_us) + 1, videos))
        stays = 1.0 if half_life_days is None else 0.5 ** (period_us / DAY_US / half_life_days)
        for at in range(1, len(begins_us)):
            of_period = period == at
            age_days = (begins_us[at] - at_us[of_period]) / DAY_US
            weight = None if half_life_days is None else 0.5 ** (age_days / half_life_days)
            found[at + 1] = stays * found[at] + np.bincount(video[of_period], weight, minlength=videos)
        return cls(begins_us, np.log1p(found).astype(np.float32))

    def at(self, instant_us: np.ndarray) -> np.ndarray:
        """The row of `log_liked` that was known at each instant: int64."""
        found: np.ndarray = np.searchsorted(self.begins_us, instant_us, side="right")
        return found
