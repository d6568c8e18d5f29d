"""A video's page: who gets it, at which ranks, since when, its features and its days.

The table of lists is indexed by user, for apps. To take the same time for any number of users, a page looks
through a limited number of rows, says how far it got, and continues from there on request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select

from nightreel.browse.charts import Bars, Lines, bars, lines
from nightreel.browse.history import PageRun, read_runs, shown_id, with_lists
from nightreel.browse.shared_lists import related_table
from nightreel.browse.table import RANK, SCORES, SOURCE, USER, Column, Table, table
from nightreel.browse.videos import describe
from nightreel.core import columns
from nightreel.core.catalogue import catalogue_of
from nightreel.core.ids import Ids
from nightreel.core.play_days import scan_days, table_exists
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import FeatureNeeds, PageNeeds
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.show import read
from scoring.database.tables import recommendation

_ROWS = 500_000  # of a run's lists that one page looks through
_ROWS_OF_OTHERS = 50_000  # the same of each other run
_USERS = 50
_DAYS = 60
_RANKS_A_BAR = 10
_COUNTS = ("play_cnt", "like_cnt")
_run, _user, _video, _rank = (
    recommendation.c[name] for name in (columns.RUN_ID, columns.USER_ID, columns.VIDEO_ID, columns.RANK)
)
_FEATURE_COLUMNS = (
    Column("feature", "Feature", "Its name in the catalogue of features."),
    Column("value", "Value", "As of the run, as the rankers read it."),
    Column("meaning", "Meaning", "Its meaning, from the catalogue."),
)
_RUN_COLUMNS = (
    Column(columns.RUN_ID, "Run", "A run whose lists are kept.", "run"),
    Column("as_of", "As of, UTC", "The instant whose knowledge the lists were made with.", "instant"),
    Column("lists", "Lists with it", "How many of the lists that were looked at have it.", "number"),
    Column("looked", "Lists looked at", "The first ones by user id.", "number"),
    Column("best", "Best rank", "The smallest rank among them.", "number"),
)


@dataclass
class VideoPage:
    """The page's contents.

    Attributes:
        looked_from, looked_to: the range of users whose lists were searched; None: from the first, to the
            last.
        lists: number of these lists with the video.
        looked: number of all these lists.
    """

    video: dict[str, Any]
    run: PageRun | None
    runs: list[PageRun]
    is_known: bool = False
    after: int | str | None = None
    looked_to: int | str | None = None
    next_after: int | str | None = None
    lists: int = 0
    looked: int = 0
    users: Table | None = None
    ranks: Bars | None = None
    related: Table | None = None
    history: Table | None = None
    features: Table | None = None
    days: Lines | None = None
    sources: list[str] = field(default_factory=list)


def video_page(
    settings: PageNeeds, video: int | str, run_id: int | None, after: int | str | None
) -> VideoPage:
    """Everything about a video as of a run (None: the one that apps read), its users from `after` on.

    Raises:
        InputError: there is no database yet.
        NightreelError: something cannot be read.
    """
    about: dict[str, Any] = {columns.VIDEO_ID: video}
    describe(settings.paths, settings.browse, [about])
    with reading(settings) as connection:
        require_current(connection)
        runs = read_runs(connection)
        run = with_lists(runs, shown_id(connection) if run_id is None else run_id)
        found = VideoPage(about, run, runs, is_known=bool(about["caption"]), after=after)
        if run is None:
            return found
        _read_lists(connection, found, run.run_id)
        _read_history(connection, found)
        found.related = related_table(connection, settings.paths, settings.browse, run.run_id, video)
    facts = _features(settings, video, run.as_of)
    found.features = table("features", "Features as of this run", _FEATURE_COLUMNS, facts)
    found.days = _curve(settings.paths, settings.data, video, run.as_of)
    found.is_known = found.is_known or bool(facts) or found.days is not None or found.lists > 0
    found.is_known |= bool(found.related.rows)
    # In lists further on there may be one that has it.
    found.is_known |= found.after is not None or found.looked_to is not None
    return found


def _read_lists(connection: Connection, found: VideoPage, run: int) -> None:
    video = found.video[columns.VIDEO_ID]
    within = [_run == run, *([] if found.after is None else [_user > found.after])]
    found.looked_to = _user_after(connection, within, _ROWS)
    if found.looked_to is not None:
        within.append(_user <= found.looked_to)
    found.looked = connection.execute(select(func.count()).where(*within, _rank == 1)).scalar_one()
    having = (*within, _video == video)
    bucket = (_rank - 1) // _RANKS_A_BAR
    counts = connection.execute(
        select(bucket.label("bucket"), func.count().label("n")).where(*having).group_by(bucket)
    ).all()
    by_bucket = {int(row.bucket): int(row.n) for row in counts}
    found.lists = sum(by_bucket.values())
    if by_bucket:
        found.ranks = bars(
            "Lists by the video's rank",
            [
                (f"ranks {n * _RANKS_A_BAR + 1} to {(n + 1) * _RANKS_A_BAR}", by_bucket.get(n, 0))
                for n in range(max(by_bucket) + 1)
            ],
        )
    names = (columns.USER_ID, columns.RANK, columns.SCORE, columns.SOURCE)
    query = select(*(recommendation.c[name] for name in names)).where(*having).order_by(_user)
    rows = [dict(row) for row in connection.execute(query.limit(_USERS + 1)).mappings()]
    found.users = table("users", "Who gets it", (USER, RANK, SCORES[0], SOURCE), rows[:_USERS], run=run)
    more_here = len(rows) > _USERS
    found.next_after = rows[_USERS - 1][columns.USER_ID] if more_here else found.looked_to


def _user_after(connection: Connection, within: list[Any], rows: int) -> int | str | None:
    """The user whose list ends about this many rows later; None if the run ends before."""
    query = select(_user).where(*within).order_by(_user, _rank).limit(1).offset(rows)
    found: int | str | None = connection.execute(query).scalar()
    return found


def _read_history(connection: Connection, found: VideoPage) -> None:
    """In how many lists of each run that is kept, oldest first: since when it is listed."""
    rows = []
    for run in reversed([one for one in found.runs if one.has_lists]):
        within = [_run == run.run_id]
        end = _user_after(connection, within, _ROWS_OF_OTHERS)
        if end is not None:
            within.append(_user <= end)
        looked = connection.execute(select(func.count()).where(*within, _rank == 1)).scalar_one()
        having = (*within, _video == found.video[columns.VIDEO_ID])
        lists, best = connection.execute(select(func.count(), func.min(_rank)).where(*having)).one()
        rows.append({**vars(run), "lists": lists, "best": best, "looked": looked})
    title = "Since when: the runs that are kept, oldest first"
    found.history = table("history", title, _RUN_COLUMNS, rows)


def _features(settings: FeatureNeeds, video: int | str, as_of: datetime) -> list[dict[str, Any]]:
    """The newest values of every view of videos alone that were known before an instant."""
    rows: list[dict[str, Any]] = []
    code = Ids.of(settings.paths, columns.VIDEO_ID).code_of(video)
    for view in catalogue_of(settings.data, settings.features).views:
        file = settings.paths.features / f"{view.name}.parquet"
        if tuple(view.entities) != ("video",) or not view.is_stored or not file.is_file():
            continue
        meanings = {one.name: one for one in view.features if one.kind != "embedding"}
        named = pl.scan_parquet(file)
        known = named.filter(pl.col(columns.VIDEO_ID) == code, pl.col(columns.EVENT_TIMESTAMP) < as_of)
        names = [name for name in named.collect_schema() if name in meanings]
        newest = read(known.sort(columns.EVENT_TIMESTAMP).last().select(names), file)
        values: Mapping[str, Any] = newest.row(0, named=True) if newest.height else {}
        rows += [
            {"feature": name, "value": _said(value), "meaning": meanings[name].description}
            for name, value in values.items()
            if value is not None and not name.startswith("tfidf_")
        ]
    return rows


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _curve(paths: Paths, settings: DataSettings, video: int | str, as_of: datetime) -> Lines | None:
    """Plays and likes on each of the days before the run; None where nothing is known of them."""
    table = paths.video_daily
    if not table_exists(table):
        return None
    daily = scan_days(table)
    counts = [name for name in _COUNTS if name in daily.collect_schema()]
    today = as_of.astimezone(settings.zone).date()
    day = pl.col(columns.LOCAL_DATE)
    code = Ids.of(paths, columns.VIDEO_ID).code_of(video)
    known = daily.filter(pl.col(columns.VIDEO_ID) == code, day < today, day >= today - timedelta(days=_DAYS))
    rows = read(known.select(columns.LOCAL_DATE, *counts).sort(columns.LOCAL_DATE), table)
    if not counts or rows.height < 2:
        return None
    words = {"play_cnt": "plays", "like_cnt": "likes"}
    series = [(words[name], rows[name].to_list()) for name in counts]
    return lines("All plays and likes by day", rows[columns.LOCAL_DATE].to_list(), series)
