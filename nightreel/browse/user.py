"""The content of the first page and of a user's page, read in one transaction, so that it is consistent."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from nightreel.browse.history import PageRun, read_jobs, read_runs, shown_id, with_lists
from nightreel.browse.plays import PLAY_COLUMNS, last_plays, plays_before
from nightreel.browse.table import (
    CANDIDATES,
    CAPTION,
    CATEGORY,
    MOVED_BY,
    PICTURE,
    RANK,
    SCORES,
    SOURCE,
    VIDEO,
    Column,
    Table,
    table,
)
from nightreel.browse.unlisted import UNLISTED_COLUMNS, unlisted
from nightreel.browse.users import users_from
from nightreel.browse.videos import describe
from nightreel.browse.why import link_to_why
from nightreel.core import columns
from nightreel.core.settings.needs import ListNeeds, PageNeeds
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.tables import recommendation

ROWS_MAX = 200
_NEARBY = 8
_WHY = Column("why", "Why", "Which sources named it, and which features move its scores most.", "link")
_LIST = (RANK, VIDEO, PICTURE, CAPTION, CATEGORY, *SCORES, SOURCE, CANDIDATES)


@dataclass(frozen=True)
class UserRequest:
    """A request: a user, a run (None: the one that apps read), and a run to compare it with."""

    user: int | str | None = None
    run: int | None = None
    other: int | None = None


@dataclass
class PageData:
    """The page's contents; `remark` says what the request asks for and does not exist."""

    asked: UserRequest
    runs: list[PageRun]
    jobs: list[dict[str, Any]]
    run: PageRun | None = None
    other: PageRun | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    plays: list[dict[str, Any]] = field(default_factory=list)
    unlisted: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    users: list[int | str] = field(default_factory=list)
    remark: str = ""

    @property
    def kept(self) -> int:
        """Number of videos in both lists."""
        return sum(change["before"] is not None and change["now"] is not None for change in self.changes)

    def list_table(self) -> Table:
        """The user's list."""
        title = f"User {self.asked.user}, run {self._run_id()}"
        moved = (MOVED_BY,) if any(row[columns.RULE] for row in self.rows) else ()
        return table("list", title, (*_LIST, *moved, _WHY), self.rows, run=self._run_id())

    def plays_table(self) -> Table:
        """The user's last plays before it."""
        return table("plays", "Last plays before it", PLAY_COLUMNS, self.plays, run=self._run_id())

    def unlisted_table(self) -> Table:
        """Videos that are in many other lists and not in this user's."""
        return table("unlisted", "Not listed, and why", UNLISTED_COLUMNS, self.unlisted, run=self._run_id())

    def changes_table(self) -> Table:
        """Each video of either list with its rank in both."""
        now, before = self._run_id(), None if self.other is None else self.other.run_id
        chosen = (
            VIDEO,
            CAPTION,
            Column("now_said", f"Rank in {now}", f"The rank in run {now}'s list.", "number"),
            Column("before_said", f"Rank in {before}", f"The rank in run {before}'s list.", "number"),
            Column("change", "Change", f"How its rank changed from run {before} to run {now}."),
        )
        return table("changes", f"Run {now} beside run {before}", chosen, self.changes, run=now)

    def _run_id(self) -> int | None:
        return None if self.run is None else self.run.run_id


def page_data(settings: PageNeeds, asked: UserRequest) -> PageData:
    """Read everything that the request asks for.

    Raises:
        InputError: there is no database yet, or it has another schema version.
        NightreelError: the database cannot be read.
    """
    with reading(settings) as connection:
        require_current(connection)
        found = PageData(asked, read_runs(connection), read_jobs(connection))
        chosen = shown_id(connection) if asked.run is None else asked.run
        found.run = with_lists(found.runs, chosen)
        found.other = None if asked.other is None else with_lists(found.runs, asked.other)
        if found.run is not None and asked.user is not None:
            _read_user(connection, settings, found, found.run, asked.user)
        if found.run is not None and not found.rows:
            found.users = users_from(connection, found.run.run_id, asked.user, _NEARBY)
    found.remark = _remark(found)
    describe(settings.paths, settings.browse, [*found.rows, *found.plays, *found.unlisted, *found.changes])
    return found


def _read_user(
    connection: Connection, settings: ListNeeds, found: PageData, run: PageRun, user: int | str
) -> None:
    found.rows = _list(connection, run, user)
    plays = plays_before(settings.paths, user, run.as_of)
    found.plays = last_plays(connection, settings, user, plays, run.model_version)
    if not found.rows:
        return
    listed = {row[columns.VIDEO_ID] for row in found.rows}
    found.unlisted = unlisted(connection, settings.lists, run.run_id, listed, plays)
    link_to_why(found.rows, user, run.run_id, "why")
    link_to_why(found.unlisted, user, run.run_id, "why not")
    if found.other is not None:
        found.changes = _changes(_list(connection, found.other, user), found.rows)


def _remark(found: PageData) -> str:
    asked = found.asked
    if not found.runs:
        return "Nothing is published yet. Run `nightreel run` first."
    if found.run is None and asked.run is None:
        return "No run is published yet; choose one that is stored, or run `nightreel run`."
    if found.run is None:
        return "There is no such run with lists: it failed, was pruned, or never was."
    if asked.other is not None and found.other is None:
        return f"There is no run {asked.other} with lists to compare with."
    if asked.user is not None and not found.rows:
        return f"User {asked.user} has no list in run {found.run.run_id}."
    return ""


def _list(connection: Connection, run: PageRun, user: int | str) -> list[dict[str, Any]]:
    query = (
        select(recommendation)
        .where(
            recommendation.c[columns.RUN_ID] == run.run_id,
            recommendation.c[columns.USER_ID] == user,
        )
        .order_by(recommendation.c.rank)
        .limit(ROWS_MAX)
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        row[columns.RULE] = (row[columns.RULE] or "").replace(",", ", ")
        row[columns.CANDIDATE_SOURCES] = (row[columns.CANDIDATE_SOURCES] or "").replace(",", ", ")
    return rows


def _changes(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each video of either list with its rank in both, in the order of `now`, then those that left."""
    ranks = {row[columns.VIDEO_ID]: row[columns.RANK] for row in before}
    stayed = [
        _change(row[columns.VIDEO_ID], row[columns.RANK], ranks.pop(row[columns.VIDEO_ID], None))
        for row in now
    ]
    return [*stayed, *(_change(video, None, rank) for video, rank in ranks.items())]


def _change(video: int | str, now: int | None, before: int | None) -> dict[str, Any]:
    if now is None or before is None:
        word = "gone" if now is None else "new"
    else:
        word = "same" if now == before else f"up {before - now}" if now < before else f"down {now - before}"
    return {
        columns.VIDEO_ID: video,
        "now": now,
        "before": before,
        "now_said": "–" if now is None else now,
        "before_said": "–" if before is None else before,
        "change": word,
    }
