"""The page that compares the lists of two runs, over many users."""

from dataclasses import dataclass

from nightreel.browse.history import PageRun, read_runs, shown_id, with_lists
from nightreel.browse.table import CAPTION, CATEGORY, PICTURE, VIDEO, Column, Table, table
from nightreel.browse.videos import describe
from nightreel.core.settings.needs import PageNeeds
from scoring.database.compare import Comparison, compare
from scoring.database.connection import reading
from scoring.database.schema import require_current

USERS_MAX = 1_000
_VIDEOS = 20
_WANTED = (
    VIDEO,
    PICTURE,
    CAPTION,
    CATEGORY,
    Column("lists", "Lists", "How many of the lists that were compared have it.", "number"),
)


@dataclass(frozen=True)
class ComparisonPage:
    """The page's contents; `facts` are those of `nightreel compare`, None until two runs are chosen."""

    runs: list[PageRun]
    run: PageRun | None
    other: PageRun | None
    facts: Comparison | None
    is_sample: bool
    entered: Table | None = None
    left: Table | None = None
    remark: str = ""


def comparison_page(settings: PageNeeds, run_id: int | None, other_id: int | None) -> ComparisonPage:
    """Two runs, by default the one that apps read and the one before it that has lists.

    Raises:
        InputError: there is no database yet.
        NightreelError: the database cannot be read.
    """
    with reading(settings) as connection:
        require_current(connection)
        runs = read_runs(connection)
        shown = shown_id(connection)
    run = with_lists(runs, shown if run_id is None else run_id)
    having = [one for one in runs if one.has_lists and one is not run]
    before = [one for one in having if run is not None and one.run_id < run.run_id]
    other = with_lists(runs, other_id) if other_id is not None else next(iter([*before, *having]), None)
    if run is None or other is None:
        return ComparisonPage(runs, run, other, None, False, remark=_remark(run_id, run, other_id))
    ids = (run.run_id, other.run_id)
    facts = compare(settings, *ids, videos=_VIDEOS, users_max=USERS_MAX)
    describe(settings.paths, settings.browse, [*facts["entered"], *facts["left"]])
    most = max(run.users or 0, other.users or 0)
    return ComparisonPage(
        runs,
        run,
        other,
        facts,
        most > USERS_MAX,
        table(
            "entered", f"In run {ids[0]}, in no list of run {ids[1]}", _WANTED, facts["entered"], run=ids[0]
        ),
        table("left", f"In run {ids[1]}, in no list of run {ids[0]}", _WANTED, facts["left"], run=ids[1]),
    )


def _remark(run_id: int | None, run: PageRun | None, other_id: int | None) -> str:
    if run is None and run_id is not None:
        return f"There is no run {run_id} with lists: it failed, was pruned, or never was."
    if other_id is not None:
        return f"There is no run {other_id} with lists to compare with."
    return "There are no two runs with lists to compare."
