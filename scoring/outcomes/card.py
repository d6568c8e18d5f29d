"""The keys of a scorecard: the JSON of `nightreel scorecard` and of the pages' API."""

from datetime import datetime
from typing import TypedDict


class Difference(TypedDict):
    """An arm minus the first one, with its interval; None without a night that counts."""

    estimate: float | None
    low: float | None
    high: float | None
    looks: int


class ArmFacts(TypedDict):
    """The results of all nights of an experiment, for one arm.

    Attributes:
        reached, reached_liked: shares of active users and nights; None if no night has them.
        played, liked: rows per active user and night.
        against_first: by figure; empty for the first arm.
    """

    arm: str
    share: float
    model_version: str | None
    users: int
    nights: int
    active_user_nights: int
    reached: float | None
    reached_liked: float | None
    played: float | None
    liked: float | None
    sample_ratio_p: float
    sample_ratio_mismatch: bool
    against_first: dict[str, Difference]


class ReachFacts(TypedDict):
    """Users with a hit among the first `depth` rows, of their list and of the day before's popularity.

    Attributes:
        hit: `played` or `liked`.
        difference: of the two shares, with its 95 % interval from `low` to `high`.
    """

    depth: int
    hit: str
    users_list: int
    users_popularity: int
    list_only: int
    popularity_only: int
    share_list: float
    share_popularity: float
    difference: float
    low: float
    high: float


class CellFacts(TypedDict):
    """Rows of a night's lists by source, ranks and segment of users, and their outcomes."""

    source: str
    rank_from: int
    rank_to: int
    segment: str
    listed: int
    shown: int | None
    played: int
    liked: int
    watch_ms: int


class PositionFacts(TypedDict):
    """Displays of listed rows at one position of the app."""

    position: int
    shown: int
    played: int
    liked: int


class NightCounts(TypedDict):
    """The counts of one run."""

    run_id: int
    shown_from: datetime
    shown_until: datetime
    as_of: datetime
    model_version: str
    log_until: datetime | None
    k: int
    users: int
    active_users: int
    rows: int
    dated_rows: int
    fresh_rows: int
    videos_listed: int
    videos_known: int
    plays: int
    exposures: int | None
    other_exposures: int | None
    exposed_users: int | None


class NightRow(NightCounts):
    """A row of the table `list_night`; there `shown` says whether apps read the lists."""

    shown: bool
    inputs: str
    recorded_at: datetime


class NightFacts(NightCounts):
    """One run, with the shares derived from its counts; the counts are those of the table `list_night`."""

    listed: int
    shown: int | None
    played: int
    liked: int
    watch_ms: int
    active_share: float
    coverage: float
    fresh: float
    judged: bool
    out_of_band: list[str]
    reach: list[ReachFacts]
    cells: list[CellFacts]
    positions: list[PositionFacts]


class Scorecard(TypedDict):
    """Nights, newest first; the newest experiment's arms; and figures outside the usual band.

    Attributes:
        days: how many are looked back.
    """

    days: int
    alarms: list[str]
    arms: list[ArmFacts]
    nights: list[NightFacts]
