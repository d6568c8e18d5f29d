"""The files with the lists of past days: scoring writes them, the evaluation reads them.

`data/backtest/<day>/<system>.parquet` holds user_id, rank (from 1) and video_id; `data/backtest/lists.json`,
written last, says which days, systems and model they belong to.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import numpy as np

from nightreel.core.artefacts import atomic_write
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import HomeNeeds
from pipelines.hashing import uniform_hash

HYBRID = "hybrid"  # the lists as published
HYBRID_OF = "hybrid_{}"  # by the rankers of an objective, the one that is published among them
SOURCE_ALONE = "source_{}"  # a candidate source's own order
YESTERDAY = "popularity_1_day"  # one list for all, by the liked plays of the day before
# The lists that are not a user's, a file each: video_id or segment and value, rank, and the video listed.
RELATED: Final = "related"
POPULAR: Final = "popular"
DEPTH = 200  # ranks that are kept of each list
_CONTENTS = "lists.json"


@dataclass(frozen=True)
class BacktestDay:
    """A local day whose lists were made as of its start.

    Attributes:
        as_of, until: its start and end in UTC.
        users: the number of users with a list.
        videos: the number of listable videos.
        sampled_share: the hashed share of users who also have lists of the systems that are only compared.
        sampled_users: the number of these users.
    """

    day: date
    as_of: datetime
    until: datetime
    users: int
    videos: int
    sampled_share: float
    sampled_users: int

    def is_sampled(self, user_id: np.ndarray, seed: int) -> np.ndarray:
        """Which of some users have lists of every system: bool [users]."""
        chosen: np.ndarray = uniform_hash(user_id.astype(np.uint64), seed) < self.sampled_share
        return chosen


@dataclass(frozen=True)
class Backtest:
    """The days, systems and model of the lists.

    Attributes:
        model: the version that made them.
        trained_before: the rankers were trained on plays before this instant, UTC.
        systems: in the order of the tables.
        sampled: the systems that have lists of the sampled users only.
        remarks: notes for readers, such as days that could not be judged.
    """

    model: str
    trained_before: datetime
    systems: tuple[str, ...]
    sampled: tuple[str, ...]
    days: tuple[BacktestDay, ...]
    remarks: tuple[str, ...]

    def save(self, settings: HomeNeeds) -> Path:
        """Write this beside the lists."""
        path = contents_file(settings.paths)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, default=_text), encoding="utf-8")
        return path

    @classmethod
    def load(cls, paths: Paths) -> "Backtest | None":
        """What `save` wrote; None if it wrote nothing."""
        path = contents_file(paths)
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        days = tuple(
            BacktestDay(
                date.fromisoformat(day["day"]),
                datetime.fromisoformat(day["as_of"]),
                datetime.fromisoformat(day["until"]),
                day["users"],
                day["videos"],
                # From an older nightreel: every list was of all users.
                day.get("sampled_share", 1.0),
                day.get("sampled_users", day["users"]),
            )
            for day in content["days"]
        )
        return cls(
            content["model"],
            datetime.fromisoformat(content["trained_before"]),
            tuple(content["systems"]),
            tuple(content.get("sampled", ())),
            days,
            tuple(content["remarks"]),
        )


def sampled_share(user_id: np.ndarray, most: int, seed: int) -> float:
    """The share by hash that holds exactly `most` of these users; 1 where there are no more."""
    if len(user_id) <= most:
        return 1.0
    return float(np.sort(uniform_hash(user_id.astype(np.uint64), seed))[most])


def contents_file(paths: Paths) -> Path:
    """The file that says what the lists are."""
    return paths.backtest / _CONTENTS


def lists_file(paths: Paths, day: date, system: str) -> Path:
    """The lists that a system made as of the start of a day."""
    return paths.backtest / day.isoformat() / f"{system}.parquet"


def shared_file(paths: Paths, day: date, kind: str) -> Path:
    """The shared lists of a kind as of the start of a day; the file exists if the settings ask for them."""
    return paths.backtest / day.isoformat() / f"shared_{kind}.parquet"


def _text(value: object) -> str:
    assert isinstance(value, date | datetime)
    return value.isoformat()
