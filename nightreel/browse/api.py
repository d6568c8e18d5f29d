"""The read-only JSON API below /api/v1: lists of every kind, runs and the scorecard, by pages, with ETags."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, RowMapping, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nightreel.browse.damage import damage_in_words
from nightreel.browse.list_reader import ListReader
from nightreel.browse.openapi import ROOT, document
from nightreel.browse.parameters import given_id, given_number, given_run
from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings.needs import BrowseNeeds, DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.history import run_facts
from scoring.database.schema import require_current
from scoring.database.show_shared import popular_rows, related_rows
from scoring.database.tables import published_run, recommendation, recommendation_run
from scoring.outcomes.card import Scorecard
from scoring.outcomes.scorecard import scorecard

LIMIT, LIMIT_MAX = 100, 1_000
_USERS_MAX = 100
_HOW = "They are made where the setting [lists.shared] {} is above 0 (docs/lists.md)."
_HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
Answer = Callable[[BrowseNeeds, Mapping[str, str]], Mapping[str, Any]]


class NotThereError(NightreelError):
    """The requested user, video or run does not exist."""


def api_routes(settings: BrowseNeeds) -> list[Route]:
    """A route for each address of the API; the page that documents it is among the pages."""
    reader: list[ListReader] = []

    async def one_list(request: Request) -> Response:
        try:
            parameters = {**request.query_params, **request.path_params}
            user = given_id(settings.paths, parameters, "user")
            if user is None:
                raise InputError("user: no id is given.", "Name one.")
            run, most = given_run(parameters), _limit(parameters, LIMIT_MAX)
            if not reader:
                with reading(settings) as connection:
                    require_current(connection)
                reader.append(ListReader(settings))
            read = partial(reader[0].read, user, run, most)
            found = read() if reader[0].is_quick else await run_in_threadpool(read)
            if found is None:
                of_run = "the run that apps read" if run is None else f"run {run}"
                raise NotThereError(f"User {user} has no list in {of_run}.", "Ask for /api/v1/lists.")
        except NightreelError as error:
            return _failed(error)
        body = f'{{"user_id":{json.dumps(user, ensure_ascii=False)},"run_id":{found[0]},"list":{found[1]}}}'
        return _answer(request, body.encode())

    def answer(make: Answer, request: Request) -> Response:
        try:
            with damage_in_words(settings.paths):
                found = make(settings, {**request.query_params, **request.path_params})
        except NightreelError as error:
            return _failed(error)
        return _answer(request, _json(found))

    return [
        Route(f"{ROOT}/openapi.json", partial(answer, lambda *_: document())),
        Route(f"{ROOT}/runs", partial(answer, _runs)),
        Route(f"{ROOT}/runs/{{run}}", partial(answer, _run)),
        Route(f"{ROOT}/lists", partial(answer, _lists)),
        # Ids that are text may have slashes.
        Route(f"{ROOT}/lists/{{user:path}}", one_list),
        Route(f"{ROOT}/related/{{video:path}}", partial(answer, _related)),
        Route(f"{ROOT}/popular", partial(answer, _popular)),
        Route(f"{ROOT}/scorecard", partial(answer, _scorecard)),
    ]


def failure(message: str, remedy: str, status: int) -> Response:
    """An error in the form that every address of the API uses."""
    return Response(
        _json({"error": {"message": message, "remedy": remedy}}), status, _HEADERS, "application/json"
    )


def _failed(error: NightreelError) -> Response:
    status = 404 if isinstance(error, NotThereError) else 400 if isinstance(error, InputError) else 503
    return failure(error.message, error.remedy, status)


def _answer(request: Request, body: bytes) -> Response:
    """The body with its ETag, or 304 where the reader has it already."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = _HEADERS | {"ETag": tag}
    lines = request.headers.getlist("if-none-match")
    asked = [one.strip().removeprefix("W/") for line in lines for one in line.split(",")]
    if tag in asked or asked == ["*"]:
        return Response(b"", 304, headers)
    return Response(body, 200, headers, "application/json")


def _json(value: Any) -> bytes:
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), default=_iso, allow_nan=False
    ).encode()


def _iso(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _limit(given: Mapping[str, str], most: int) -> int:
    return given_number(given, "limit", most, least=1) or min(LIMIT, most)


def _runs(settings: DatabaseNeeds, given: Mapping[str, str]) -> dict[str, Any]:
    limit, before = _limit(given, LIMIT_MAX), given_run(given, "before")
    key = recommendation_run.c[columns.RUN_ID]
    query = select(recommendation_run).order_by(key.desc()).limit(limit + 1)
    with reading(settings) as connection:
        require_current(connection)
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        found = connection.execute(query if before is None else query.where(key < before)).mappings().all()
    rows = [_run_said(run, shown) for run in found[:limit]]
    more = f"{ROOT}/runs?limit={limit}&before={rows[-1][columns.RUN_ID]}" if len(found) > limit else None
    return {"runs": rows, "next": more}


def _run(settings: DatabaseNeeds, given: Mapping[str, str]) -> dict[str, Any]:
    run_id = given_run(given)
    with reading(settings) as connection:
        require_current(connection)
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        query = select(recommendation_run).where(recommendation_run.c[columns.RUN_ID] == run_id)
        found = connection.execute(query).mappings().first()
    if found is None:
        raise NotThereError(f"There is no run {run_id}.", f"Ask for {ROOT}/runs.")
    return _run_said(found, shown)


def _run_said(run: RowMapping, shown: int | None) -> dict[str, Any]:
    facts: dict[str, Any] = {**run_facts(run, shown)}
    stages = facts.pop("stages")
    return facts | {"seconds": json.loads(stages or "{}")}


def _lists(settings: DatabaseNeeds, given: Mapping[str, str]) -> dict[str, Any]:
    """Whole lists of a page of users by id."""
    limit, after, run_id = (
        _limit(given, _USERS_MAX),
        given_id(settings.paths, given, "after"),
        given_run(given),
    )
    run, user = recommendation.c[columns.RUN_ID], recommendation.c[columns.USER_ID]
    with reading(settings) as connection:
        require_current(connection)
        if run_id is None:
            run_id = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        of_run = select(user).where(run == run_id, recommendation.c.rank == 1).order_by(user).limit(limit + 1)
        found = connection.execute(of_run if after is None else of_run.where(user > after)).scalars().all()
        users = found[:limit]
        names = (columns.USER_ID, columns.RANK, columns.VIDEO_ID, columns.SCORE, columns.SOURCE)
        query = select(*(recommendation.c[name] for name in names)).where(run == run_id, user.in_(users))
        rows = (
            connection.execute(query.order_by(user, recommendation.c.rank)).mappings().all() if users else []
        )
    if not users and after is None:
        raise NotThereError(f"Run {run_id} has no lists.", f"Ask for {ROOT}/runs.")
    lists: dict[Any, list[dict[str, Any]]] = {one: [] for one in users}
    for row in rows:
        lists[row[columns.USER_ID]].append({name: row[name] for name in names[1:]})
    more = (
        f"{ROOT}/lists?run={run_id}&limit={limit}&after={quote(str(users[-1]), safe='')}"
        if len(found) > limit
        else None
    )
    return {
        columns.RUN_ID: run_id,
        "lists": [{columns.USER_ID: one, "list": lists[one]} for one in users],
        "next": more,
    }


def _related(settings: DatabaseNeeds, given: Mapping[str, str]) -> dict[str, Any]:
    """One video's related ones."""
    video, limit = given_id(settings.paths, given, "video"), _limit(given, LIMIT_MAX)
    if video is None:
        raise InputError("video: no id is given.", "Name one.")
    with reading(settings) as connection:
        run_id = _run_or_shown(connection, given)
        rows = related_rows(connection, settings.paths, run_id, video, limit)
    if not rows:
        raise NotThereError(f"Video {video} has no related videos in run {run_id}.", _HOW.format("related_k"))
    return {columns.VIDEO_ID: video, columns.RUN_ID: run_id, "list": rows}


def _popular(settings: DatabaseNeeds, given: Mapping[str, str]) -> dict[str, Any]:
    """The popular videos, for all users or for one value of a segment."""
    segment, value = given.get("segment", "") or columns.OVERALL, given.get("value", "")
    limit = _limit(given, LIMIT_MAX)
    with reading(settings) as connection:
        run_id = _run_or_shown(connection, given)
        rows = popular_rows(connection, run_id, limit, segment=segment, value=value)
    if not rows:
        said = f"{segment}={value}" if value else segment
        raise NotThereError(f"Run {run_id} has no popular videos of {said}.", _HOW.format("popular_k"))
    about = {columns.SEGMENT: segment, columns.VALUE: value, columns.RUN_ID: run_id}
    return {**about, "list": rows}


def _run_or_shown(connection: Connection, given: Mapping[str, str]) -> int:
    """The run that is asked for, or the one that apps read. Raises NotThereError before the first."""
    require_current(connection)
    run_id = given_run(given)
    if run_id is None:
        run_id = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
    if run_id is None:
        raise NotThereError("Nothing is published yet.", "Run `nightreel score` first.")
    return run_id


def _scorecard(settings: DatabaseNeeds, given: Mapping[str, str]) -> Scorecard:
    days = given_number(given, "days", 36_500, least=1)
    return scorecard(settings, days=days or 30, replays=given.get("replays", "") not in ("", "0", "false"))
