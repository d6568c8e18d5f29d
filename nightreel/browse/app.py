"""The web application: two pages, made on the server, from a database that it only reads.

Nothing on the page comes from elsewhere and no script runs there; every value is escaped by the template.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from nightreel.browse.look import Question, look
from nightreel.browse.scorecard import scorecard_page
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from scoring.outcomes.log import LIKED, PLAYED

_FOLDER = Path(__file__).parent / "templates"
_LARGEST = 2**63 - 1
_DAYS, _DAYS_MAX = 30, 36_500
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(settings: Settings, *, hosts: tuple[str, ...]) -> Starlette:
    """The application. hosts: names under which it may be asked for; `*`: any.

    Other names are refused, so that no page on the network can read this one by a name of its own.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(instant=_instant, score=_score, seconds=_seconds)

    def page(request: Request) -> Response:
        try:
            found = look(settings, _question(request))
        except NightreelError as error:
            wrong_use = isinstance(error, InputError)
            text = environment.get_template("error.html").render(error=error)
            return HTMLResponse(text, 400 if wrong_use else 503, _HEADERS)
        text = environment.get_template("page.html").render(found=found, asked=found.question)
        return HTMLResponse(text, 404 if found.remark else 200, _HEADERS)

    def scorecard(request: Request) -> Response:
        try:
            days = _number(request, "days") or _DAYS
            hit = LIKED if request.query_params.get("hit") != PLAYED else PLAYED
            replays = bool(request.query_params.get("replays"))
            card = scorecard_page(settings, days=min(days, _DAYS_MAX), hit=hit, replays=replays)
        except NightreelError as error:
            text = environment.get_template("error.html").render(error=error)
            return HTMLResponse(text, 400 if isinstance(error, InputError) else 503, _HEADERS)
        return HTMLResponse(environment.get_template("scorecard.html").render(card=card), 200, _HEADERS)

    def style(_request: Request) -> Response:
        return Response((_FOLDER / "style.css").read_bytes(), 200, _HEADERS, "text/css")

    async def unexpected(_request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"Unexpected {type(error).__name__}.", 500, _HEADERS)

    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {Exception: unexpected}
    return Starlette(
        routes=[Route("/", page), Route("/scorecard", scorecard), Route("/style.css", style)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        exception_handlers=handlers,
    )


def _question(request: Request) -> Question:
    return Question(**{name: _number(request, name) for name in ("user", "run", "other")})


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > _LARGEST:
        raise InputError(f"{name}: not a number.", "Write digits only.")
    return int(text)


def _instant(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _seconds(value: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in value.items() if seconds is not None)
