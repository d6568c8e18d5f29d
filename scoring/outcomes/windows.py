"""When each run's lists were shown: from a flip to the next one, at most a day, and never past now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from nightreel.core import columns
from scoring.database.tables import PUBLISHED, STORED, list_flip, recommendation_run

LONGEST = timedelta(hours=24)


@dataclass(frozen=True)
class ShownRun:
    """A run with lists, and the spans [from, until) in which plays count for it, in order.

    Attributes:
        shown: apps read it. A replay that was only stored counts as shown from its as_of on.
    """

    run: Row[Any]
    shown: bool
    spans: tuple[tuple[datetime, datetime], ...]

    @property
    def shown_from(self) -> datetime:
        """The beginning of its first span."""
        return self.spans[0][0]

    @property
    def shown_until(self) -> datetime:
        """The end of its last span."""
        return self.spans[-1][1]


def shown_runs(connection: Connection, now: datetime) -> list[ShownRun]:
    """The kept runs that have been shown for a while, oldest first; flips after `now` are ignored.

    A run that was shown again by a rollback has one span for each time.
    """
    flips = connection.execute(
        select(list_flip).where(list_flip.c.shown_at <= now).order_by(list_flip.c.shown_at)
    ).all()
    spans: dict[int, list[tuple[datetime, datetime]]] = {}
    ends = [*(flip.shown_at for flip in flips), now][1:]
    for flip, end in zip(flips, ends, strict=True):
        spans.setdefault(flip.run_id, []).append((flip.shown_at, min(end, flip.shown_at + LONGEST, now)))
    key = recommendation_run.c[columns.RUN_ID]
    kept = select(recommendation_run).where(recommendation_run.c.status.in_([PUBLISHED, STORED]))
    found = []
    for run in connection.execute(kept.order_by(key)):
        own = spans.get(run.run_id, [])
        if run.status == STORED:
            own = [(run.as_of, min(run.as_of + LONGEST, now))]
        own = [span for span in own if span[0] < span[1]]
        if own:
            found.append(ShownRun(run, run.status == PUBLISHED, tuple(own)))
    return found
