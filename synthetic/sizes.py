"""How large a synthetic data set is: its sizes checked, its three collection windows, its random streams."""

import datetime
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nightreel.core.errors import InputError
from synthetic import exact

KUAIREC_USERS = 7_176
KUAIREC_VIDEOS = 10_728
KUAIREC_INTERACTIONS = 12_530_806
KUAIREC_DAYS = 63
KUAIREC_SMALL_USERS = 1_411
KUAIREC_SMALL_VIDEOS = 3_327

FIRST_DAY = datetime.date(2020, 7, 5)
DAYS_MIN = 3
ROWS_PER_USER_MAX = 1_000_000

# KuaiRec's big_matrix was collected on days 0..7, 27..36 and 53..62 of 63, with these shares of its rows.
_WINDOWS = ((0, 8, 0.167), (27, 37, 0.585), (53, 63, 0.248))
# The last window thins out: its first three days hold as many rows as its last seven.
_LAST_WINDOW_EARLY_SHARE = 0.45


@dataclass(frozen=True)
class Sizes:
    """The numbers of rows, users, videos and days to make."""

    users: int
    videos: int
    interactions: int
    days: int
    small_users: int
    small_videos: int
    seed: int

    @classmethod
    def checked(
        cls,
        *,
        users: int,
        videos: int,
        interactions: int,
        days: int,
        seed: int,
        small_users: int | None,
        small_videos: int | None,
    ) -> "Sizes":
        """Fill in the size of small_matrix in KuaiRec's proportions; InputError for impossible sizes."""
        for name, value, least in (
            ("users", users, 1),
            ("videos", videos, 2),
            ("interactions", interactions, 1),
            ("days", days, DAYS_MIN),
            ("seed", seed, 0),
        ):
            if value < least:
                raise InputError(f"synthesize: {name} is {value}.", f"Give at least {least}.")
        if interactions < users:
            raise InputError(
                f"synthesize: {interactions} interactions are too few for {users} users.",
                "Give at least one per user.",
            )
        if interactions > users * ROWS_PER_USER_MAX:
            raise InputError(
                f"synthesize: {interactions} interactions are too many for {users} users.",
                f"Give at most {ROWS_PER_USER_MAX} per user.",
            )
        if small_users is None:
            small_users = max(1, round(users * KUAIREC_SMALL_USERS / KUAIREC_USERS))
        if small_videos is None:
            small_videos = max(1, round(videos * KUAIREC_SMALL_VIDEOS / KUAIREC_VIDEOS))
        if not 1 <= small_users <= users:
            raise InputError(f"synthesize: small_users is {small_users}.", f"Give 1 to {users}, the users.")
        if not 1 <= small_videos < videos:
            raise InputError(
                f"synthesize: small_videos is {small_videos}.",
                f"Give 1 to {videos - 1}: some videos must stay outside for the users of small_matrix.",
            )
        return cls(users, videos, interactions, days, small_users, small_videos, seed)

    @cached_property
    def day_shares(self) -> npt.NDArray[np.float64]:
        """Share of big_matrix's rows on each day [days]; zero outside of the three windows."""
        shares = np.zeros(self.days)
        for index, (first, end, share) in enumerate(_WINDOWS):
            start = min(round(first * self.days / KUAIREC_DAYS), self.days - 1)
            length = max(1, round((end - first) * self.days / KUAIREC_DAYS))
            stop = self.days if index == len(_WINDOWS) - 1 else min(start + length, self.days)
            start = min(start, stop - 1)
            weights = np.ones(stop - start)
            if index == len(_WINDOWS) - 1 and stop - start >= 2:
                early = max(1, round(0.3 * (stop - start)))
                weights[:early] = _LAST_WINDOW_EARLY_SHARE / early
                weights[early:] = (1 - _LAST_WINDOW_EARLY_SHARE) / (stop - start - early)
            shares[start:stop] += share * weights / exact.total(weights)
        result: npt.NDArray[np.float64] = shares / exact.total(shares)
        return result

    def stream(self, name: str, part: int = 0) -> np.random.Generator:
        """The random numbers of one named purpose (and part of it): the same whatever else was drawn."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), part])


def local_date(day: int) -> datetime.date:
    """The calendar day of day number `day`, in Asia/Shanghai."""
    return FIRST_DAY + datetime.timedelta(days=day)
