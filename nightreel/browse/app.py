"""The web application: pages made on the server, and an API, from a database that it only reads.

No script runs on the pages, and nothing is loaded from other hosts except pictures from the one set for them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from nightreel.browse.api import api_routes, failure
from nightreel.browse.login import Login
from nightreel.browse.openapi import ROOT
from nightreel.browse.pages import error_page, headers, make_environment, page_routes
from nightreel.core.settings.needs import BrowseNeeds


def make_app(settings: BrowseNeeds, *, hosts: tuple[str, ...]) -> Starlette:
    """The application; requests for any host name outside `hosts` (`*`: any) are refused.

    Otherwise a page on the network could read this one through a name of its own (DNS rebinding).
    """
    environment = make_environment()

    async def not_there(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith(ROOT):
            said = failure(f"{error.detail}.", f"{ROOT}/docs says what there is.", error.status_code)
            return with_own_headers(said, error)
        message = "There is no such page." if error.status_code == 404 else f"{error.detail}."
        remedy = "Look for a user or a video here, or go to the runs."
        page = await run_in_threadpool(
            error_page, settings, environment, {}, (message, remedy), error.status_code
        )
        return with_own_headers(page, error)

    def with_own_headers(response: Response, error: HTTPException) -> Response:
        # The header Allow, where the method is not allowed.
        response.headers.update(error.headers or {})
        return response

    async def unexpected(_request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"Unexpected {type(error).__name__}.", 500, headers(settings.browse))

    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)]
    if settings.browse.password is not None:
        middleware.append(Middleware(Login, password=settings.browse.password.get_secret_value()))
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        HTTPException: not_there,
        Exception: unexpected,
    }
    return Starlette(
        routes=[*page_routes(settings, environment), *api_routes(settings)],
        middleware=middleware,
        exception_handlers=handlers,
    )
