"""The lists that are not a user's: a video's related ones, and the page of popular videos."""

from dataclasses import dataclass

from sqlalchemy import Connection

from nightreel.browse.history import PageRun, read_runs, shown_id, with_lists
from nightreel.browse.table import CAPTION, CATEGORY, PICTURE, RANK, SCORES, VIDEO, Column, Table, table
from nightreel.browse.videos import describe
from nightreel.core import columns
from nightreel.core.settings import BrowseSettings, Paths
from nightreel.core.settings.needs import PageNeeds
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.show_shared import popular_rows, popular_segments, related_rows

_RELATED_MAX, _POPULAR_MAX = 50, 100
_RELATED_SOURCE = Column(
    columns.SOURCE,
    "Source",
    "played_together: the same users played both shortly after each other; text: their texts are similar; or "
    "both.",
)
_POPULAR_SOURCE = Column(
    columns.SOURCE,
    "Source",
    "segment: users with this value liked it lately; overall: it comes from what all users liked.",
)
_SCORE = Column(columns.SCORE, "Score", SCORES[0].meaning, "score")
_ABOUT = (PICTURE, CAPTION, CATEGORY)


def related_table(
    connection: Connection, paths: Paths, settings: BrowseSettings, run_id: int, video: int | str
) -> Table:
    """The videos related to one in a run; no rows if there are none."""
    rows = related_rows(connection, paths, run_id, video, _RELATED_MAX)
    for row in rows:
        row[columns.VIDEO_ID] = row.pop(columns.RELATED_VIDEO_ID)
    describe(paths, settings, rows)
    named = (RANK, VIDEO, *_ABOUT, _SCORE, _RELATED_SOURCE)
    return table("related", f"Videos related to it in run {run_id}", named, rows, run=run_id)


@dataclass(frozen=True)
class PopularPage:
    """The page's contents.

    Attributes:
        segments: the choices, as `column=value`, with their labels.
        chosen: one of them.
    """

    runs: list[PageRun]
    run: PageRun | None
    segments: list[tuple[str, str]]
    chosen: str
    videos: Table | None
    remark: str = ""


def popular_page(settings: PageNeeds, run_id: int | None, chosen: str) -> PopularPage:
    """The popular videos of a run (None: the one that apps read), for all users or for `column=value`.

    Raises:
        InputError: there is no database yet.
    """
    segment, _, value = chosen.partition("=") if chosen else (columns.OVERALL, "", "")
    with reading(settings) as connection:
        require_current(connection)
        runs = read_runs(connection)
        run = with_lists(runs, shown_id(connection) if run_id is None else run_id)
        if run is None:
            remark = "There is no such run with lists: it failed, was pruned, or never was."
            return PopularPage(runs, None, [], chosen, None, remark)
        number = run.run_id
        known = popular_segments(connection, number)
        rows = popular_rows(connection, number, _POPULAR_MAX, segment=segment, value=value)
    segments = [
        ("", "all users") if name == columns.OVERALL else (f"{name}={one}", f"users with {name} {one}")
        for name, one in known
    ]
    said = dict(segments).get(chosen)
    if said is None:
        remark = f"Run {number} has no popular videos"
        remark += f" of {chosen}." if chosen else ": set [lists.shared] popular_k, and run `nightreel score`."
        return PopularPage(runs, run, segments, chosen, None, remark)
    describe(settings.paths, settings.browse, rows)
    title = f"Popular among {said} in run {number}"
    named = (RANK, VIDEO, *_ABOUT, _SCORE, _POPULAR_SOURCE)
    return PopularPage(runs, run, segments, chosen, table("popular", title, named, rows, run=number))
