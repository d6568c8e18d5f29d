"""Why a video is in a user's list, or why it is not: what `nightreel show USER --why VIDEO` says, as a page.

A page only reads: where a night has to be made again for the answer, it names the command that does so.
"""

import shlex
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from nightreel.browse.damage import damage_in_words
from nightreel.browse.history import PageRun, read_runs
from nightreel.browse.table import CAPTION, CATEGORY, PICTURE, VIDEO, Column, Table, table
from nightreel.browse.videos import describe
from nightreel.core import columns
from nightreel.core.catalogue import catalogue_of
from nightreel.core.errors import BusyError, InputError
from nightreel.core.settings import DataSettings, FeatureSettings, Paths
from nightreel.core.settings.needs import BrowseNeeds
from pipelines.known import last_arrival
from pipelines.local_days import ALWAYS_KNOWN
from scoring.database.connection import reading
from scoring.database.kept_runs import run_or_shown
from scoring.database.schema import require_current

if TYPE_CHECKING:
    from scoring.explain import Explanation

_WAIT_S = 30
_one_at_a_time = threading.Lock()  # Feast works on one home in a process
_MEASURES = {"als": "ALS factors", "item_knn": "liked by the same users", "text": "caption"}
_FEATURES = (
    Column("model", "Model", "classifier chooses the videos, regressor orders them; or the one ranker."),
    Column("feature", "Feature", "Its name in the catalogue of features."),
    Column("value", "Value", "As the model read it, as of the run.", "number"),
    Column("contribution", "Contribution", "What it adds to the model's raw score of this pair.", "number"),
    Column("meaning", "Meaning", "Its meaning, from the catalogue."),
)
_NEARBY = (
    VIDEO,
    PICTURE,
    CAPTION,
    CATEGORY,
    Column("by", "Near by", "How the two are similar: ALS factors, caption, or liked by the same users."),
    Column("nearness", "Nearness", "How near the two are; comparable within one kind only.", "score"),
    Column("played_at", "Played, UTC", "When the user last played it before the run.", "instant"),
    Column(columns.WATCH_RATIO, "Watched", "Time played as a share of the video's length.", "percent"),
    Column("liked", "Liked", "Whether the play counts as liked, by the settings in force."),
)


@dataclass
class WhyPage:
    """The page's contents.

    Attributes:
        found: None until a user and a video are named that can be explained.
        is_missing: whether the user has no list in the run.
    """

    runs: list[PageRun]
    found: "Explanation | None" = None
    video: dict[str, Any] = field(default_factory=dict)
    features: Table | None = None
    nearby: Table | None = None
    remark: str = ""
    is_missing: bool = False


def why_address(user: object, video: object, run: int) -> str:
    """The address of the page that says why a user's list has a video, or why it does not."""
    return "/why?" + urlencode({"user": str(user), "video": str(video), "run": run})


def link_to_why(rows: list[dict[str, Any]], user: object, run: int, said: str) -> None:
    """Add to rows with a video_id a link to that page."""
    for row in rows:
        row["why"] = (why_address(user, row[columns.VIDEO_ID], run), said)


def why_page(
    settings: BrowseNeeds, user: int | str | None, video: int | str | None, run_id: int | None
) -> WhyPage:
    """Explain the video of the user's list.

    Raises InputError if there is no such run or the home no longer has what it was made from,
    NightreelError where that cannot be read.
    """
    with reading(settings) as connection:
        require_current(connection)
        page = WhyPage(read_runs(connection))
        if user is None or video is None:
            page.remark = "Name a user and a video."
            return page
        run = run_or_shown(connection, run_id, remedy="Run `nightreel run` first.")
    # A model's JSON may not have the form that is expected.
    with damage_in_words(settings.paths, ValueError, KeyError):
        command = shlex.join(["nightreel", "show", str(user), "--why", str(video), "--run", str(run.run_id)])
        _require_no_replay(settings.paths, run.run_id, run.known_at or ALWAYS_KNOWN, command)
        found = _explained(settings, user, video, run.run_id)
    if isinstance(found, str):
        page.remark, page.is_missing = found, True
        return page
    page.found, page.video = found, {columns.VIDEO_ID: video}
    near = [_near(one) for one in found.nearby]
    describe(settings.paths, settings.browse, [page.video, *near])
    page.features = table(
        "features", "What moves its scores most", _FEATURES, _moving(settings.data, settings.features, found)
    )
    page.nearby = table("nearby", "Nearest of what the user had played", _NEARBY, near, run=found.run_id)
    return page


def _require_no_replay(paths: Paths, run_id: int, known_at: datetime, command: str) -> None:
    if last_arrival(paths) > known_at:
        raise InputError(
            f"Run {run_id}: deliveries have arrived since, so the data that it knew must be restored.",
            f"Run `{command}`, which does so.",
        )


def _explained(settings: BrowseNeeds, user: int | str, video: int | str, run_id: int) -> "Explanation | str":
    """The explanation, or a remark that there is no list to explain."""
    if not _one_at_a_time.acquire(timeout=_WAIT_S):
        raise BusyError("Other requests for reasons are being answered.", "Ask again in a minute.")
    try:
        # Feast takes seconds to import, and only this page needs it.
        from feature_repo.home import working_on
        from feature_repo.sources import point_sources_at
        from scoring.explain import NoListError, explain

        with working_on(settings):
            point_sources_at(settings.paths)
            try:
                return explain(settings, user, video, run_id=run_id)
            except NoListError as error:
                return str(error)
    finally:
        _one_at_a_time.release()


def _near(one: Any) -> dict[str, Any]:
    return {
        columns.VIDEO_ID: one.video_id,
        "by": _MEASURES.get(one.by, one.by),
        "nearness": one.nearness,
        "played_at": one.played_at,
        columns.WATCH_RATIO: one.watch_ratio,
        "liked": "yes" if one.liked else "no",
    }


def _moving(data: DataSettings, features: FeatureSettings, found: "Explanation") -> list[dict[str, Any]]:
    meanings = {
        one.name: one.description for view in catalogue_of(data, features).views for one in view.features
    }
    return [
        {
            "model": one.model,
            "feature": one.feature,
            "value": _said(one.value),
            "contribution": f"{one.contribution:+.4f}",
            "meaning": meanings.get(one.feature, ""),
        }
        for one in found.features
    ]


def _said(value: float | int | str | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
