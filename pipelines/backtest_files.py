"""Where the lists of past days stand, and what they are: scoring writes them, the evaluation reads them.

`data/backtest/<day>/<system>.parquet` holds user_id, rank (from 1) and video_id; `data/backtest/lists.json`,
written last, says which days, systems and model they belong to.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

from nightreel.core.artefacts import atomic_write
from nightreel.core.settings import Settings

HYBRID = "hybrid"  # the lists as published
HYBRID_OF = "hybrid_{}"  # by the rankers of an objective, the one that is published among them
SOURCE_ALONE = "source_{}"  # a candidate source's own order
YESTERDAY = "popularity_1_day"  # one list for all, by the liked plays of the day before
DEPTH = 200  # ranks that are kept of each list
_CONTENTS = "lists.json"


@dataclass(frozen=True)
class BacktestDay:
    """A local day whose lists were made as of its start.

    as_of, until: its borders in UTC. users: how many have a list. videos: how many might be listed.
    """

    day: date
    as_of: datetime
    until: datetime
    users: int
    videos: int


@dataclass(frozen=True)
class Backtest:
    """What the lists are.

    model: the version that made them. trained_before: no ranker saw a play from then on. systems: in the
    order of the tables. remarks: what a reader should know, such as days that could not be judged.
    """

    model: str
    trained_before: datetime
    systems: tuple[str, ...]
    days: tuple[BacktestDay, ...]
    remarks: tuple[str, ...]

    def save(self, settings: Settings) -> Path:
        """Write this beside the lists."""
        path = contents_file(settings)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, default=_text), encoding="utf-8")
        return path

    @classmethod
    def load(cls, settings: Settings) -> "Backtest | None":
        """What `save` wrote; None where nothing was."""
        path = contents_file(settings)
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
            )
            for day in content["days"]
        )
        return cls(
            content["model"],
            datetime.fromisoformat(content["trained_before"]),
            tuple(content["systems"]),
            days,
            tuple(content["remarks"]),
        )


def contents_file(settings: Settings) -> Path:
    """The file that says what the lists are."""
    return settings.paths.backtest / _CONTENTS


def lists_file(settings: Settings, day: date, system: str) -> Path:
    """The lists that a system made as of the start of a day."""
    return settings.paths.backtest / day.isoformat() / f"{system}.parquet"


def _text(value: object) -> str:
    assert isinstance(value, date | datetime)
    return value.isoformat()
