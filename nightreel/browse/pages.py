"""The pages: read what an address asks for, and render a template; errors are pages too."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from nightreel.browse.comparison import comparison_page
from nightreel.browse.damage import damage_in_words
from nightreel.browse.drift import drift_page
from nightreel.browse.history import jobs_table, read_runs, runs_table, seconds_chart, shown_id, with_lists
from nightreel.browse.openapi import ROOT, document
from nightreel.browse.parameters import given_id, given_number, given_run
from nightreel.browse.scorecard import percent, scorecard_page
from nightreel.browse.shared_lists import popular_page
from nightreel.browse.user import UserRequest, page_data
from nightreel.browse.users import random_user, users_page
from nightreel.browse.video import video_page
from nightreel.browse.videos import picture_host
from nightreel.browse.why import why_page
from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.ids import Ids
from nightreel.core.settings import BrowseSettings
from nightreel.core.settings.needs import BrowseNeeds, DatabaseNeeds, PageNeeds
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.outcomes.log import LIKED, PLAYED

FOLDER = Path(__file__).parent / "templates"
_DAYS, _DAYS_MAX = 30, 36_500
_NO_RUN = "There is no such run with lists: it failed, was pruned, or never was."
Page = Callable[[BrowseNeeds, Mapping[str, str]], tuple[str, int, dict[str, Any]]]


def make_environment() -> Environment:
    """The templates, which escape every value."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(instant=_instant, cell=_cell, percent=percent)
    return environment


def headers(settings: BrowseSettings) -> dict[str, str]:
    """Security headers of every response: nothing from other hosts except pictures of the configured one."""
    pictures = " ".join(filter(None, ("data:", picture_host(settings))))
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; img-src {pictures}; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def page_routes(settings: BrowseNeeds, environment: Environment) -> list[Route]:
    """A route for each page and for the style sheet."""

    def answer(page: Page, request: Request) -> Response:
        parameters = dict(request.query_params)
        try:
            with damage_in_words(settings.paths):
                template, status, values = page(settings, parameters)
        except NightreelError as error:
            status = 400 if isinstance(error, InputError) else 503
            return error_page(settings, environment, parameters, (error.message, error.remedy), status)
        if template == "":
            return RedirectResponse(values["to"], status, headers(settings.browse))
        text = environment.get_template(template).render(values | {"typed": parameters})
        return HTMLResponse(text, status, headers(settings.browse))

    def style(_request: Request) -> Response:
        return Response((FOLDER / "style.css").read_bytes(), 200, headers(settings.browse), "text/css")

    pages: dict[str, Page] = {
        "/": _user,
        "/users": _users,
        "/random": _random,
        "/video": _video,
        "/popular": _popular,
        "/compare": _compare,
        "/scorecard": _scorecard,
        "/drift": _drift,
        "/why": _why,
        f"{ROOT}/docs": _api,
    }
    return [Route(path, partial(answer, page)) for path, page in pages.items()] + [Route("/style.css", style)]


def error_page(
    settings: PageNeeds,
    environment: Environment,
    parameters: Mapping[str, str],
    said: tuple[str, str],
    status: int,
) -> Response:
    """An error and its remedy, with the form as it was filled in."""
    try:
        with reading(settings) as connection:
            require_current(connection)
            runs = read_runs(connection)
    except NightreelError:
        runs = []
    text = environment.get_template("error.html").render(
        message=said[0], remedy=said[1], typed=parameters, runs=runs
    )
    return HTMLResponse(text, status, headers(settings.browse))


def _user(settings: PageNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    asked = UserRequest(given_id(settings.paths, given, "user"), given_run(given), given_run(given, "other"))
    found = page_data(settings, asked)
    values = {"found": found, "asked": asked, "runs": found.runs}
    if asked.user is None:
        values |= {
            "runs_table": runs_table(found.runs),
            "jobs_table": jobs_table(found.jobs),
            "chart": seconds_chart(found.runs),
        }
    return ("page.html" if asked.user is not None else "home.html"), 404 if found.remark else 200, values


def _users(settings: DatabaseNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    run_id, after = given_run(given), given_id(settings.paths, given, "after")
    with reading(settings) as connection:
        require_current(connection)
        runs = read_runs(connection)
        run = with_lists(runs, shown_id(connection) if run_id is None else run_id)
        found = None if run is None else users_page(connection, run.run_id, after)
    values = {"runs": runs, "run": run, "found": found, "remark": _NO_RUN if run is None else ""}
    return "users.html", 404 if run is None else 200, values


def _random(settings: DatabaseNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    run_id = given_run(given)
    with reading(settings) as connection:
        require_current(connection)
        run = with_lists(read_runs(connection), shown_id(connection) if run_id is None else run_id)
        ids = Ids.of(settings.paths, columns.USER_ID)
        user = None if run is None else random_user(connection, ids, run.run_id)
    of_run = "" if run_id is None else f"&run={run_id}"
    # A redirect escapes what an address may not have, but not what means something in it.
    return "", 303, {"to": "/users" if user is None else f"/?user={quote(str(user), safe='')}{of_run}"}


def _video(settings: PageNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    video = given_id(settings.paths, given, "video")
    if video is None:
        raise InputError("video: no id is given.", "Write the id of a video.")
    found = video_page(settings, video, given_run(given), given_id(settings.paths, given, "after"))
    remark = "" if found.run is not None else _NO_RUN
    if found.run is not None and not found.is_known:
        remark = f"Nothing is known of video {video}."
    values = {"found": found, "runs": found.runs, "video": video, "remark": remark}
    return "video.html", 404 if remark else 200, values


def _popular(settings: PageNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    found = popular_page(settings, given_run(given), given.get("segment", "").strip())
    is_missing = found.remark and (found.run is None or found.chosen)
    return "popular.html", 404 if is_missing else 200, {"found": found, "runs": found.runs}


def _compare(settings: PageNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    found = comparison_page(settings, given_run(given), given_run(given, "other"))
    return "compare.html", 404 if found.remark else 200, {"found": found, "runs": found.runs}


def _scorecard(settings: DatabaseNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    days = given_number(given, "days", 2**63 - 1, least=1) or _DAYS
    hit = LIKED if given.get("hit") != PLAYED else PLAYED
    card = scorecard_page(settings, days=min(days, _DAYS_MAX), hit=hit, replays=bool(given.get("replays")))
    return "scorecard.html", 200, {"card": card}


def _drift(settings: DatabaseNeeds, _given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    return "drift.html", 200, drift_page(settings.paths)


def _why(settings: BrowseNeeds, given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    user, video = (given_id(settings.paths, given, name) for name in ("user", "video"))
    found = why_page(settings, user, video, given_run(given))
    return "why.html", 404 if found.is_missing else 200, {"page": found}


def _api(_settings: PageNeeds, _given: Mapping[str, str]) -> tuple[str, int, dict[str, Any]]:
    return "api.html", 200, {"document": document()}


def _instant(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _cell(row: Mapping[str, Any], key: str, kind: str) -> str:
    """A value as its kind is shown."""
    value = row.get(key)
    if value is None:
        return "–" if kind in ("number", "score", "share", "percent") else ""
    if kind == "score":
        return f"{value:.4f}"
    if kind == "percent":
        return f"{100 * value:.0f} %"
    if kind == "instant":
        return _instant(value)
    return str(value)
