"""The password before the pages: compared in constant time, and few guesses a minute from one address."""

import base64
import binascii
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

GUESSES, WITHIN_S = 10, 60.0
_ADDRESSES_MAX = 10_000


class Login:
    """HTTP basic authentication by password; any user name is accepted.

    After GUESSES wrong passwords within WITHIN_S seconds, an address gets no answer, right or wrong, until
    the first of them is that old.

    Attributes:
        now: seconds of a monotonic clock.
    """

    def __init__(self, app: ASGIApp, password: str, now: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._digest = _digest(password)
        self._now = now
        # When each of the addresses that last guessed wrong did so.
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for the password, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        address = client[0] if client else ""
        wait_s = self._wait_s(address)
        given = Headers(scope=scope).get("authorization", "")
        if wait_s > 0 and given:
            headers = {"Retry-After": f"{int(wait_s) + 1}"}
            answer = PlainTextResponse("Too many wrong passwords; wait a minute.\n", 429, headers)
        elif hmac.compare_digest(_digest(_password(given)), self._digest):
            await self._app(scope, receive, send)
            return
        else:
            if given:
                self._note(address)
            headers = {"WWW-Authenticate": 'Basic realm="nightreel", charset="UTF-8"'}
            answer = PlainTextResponse("The password is needed (NIGHTREEL_BROWSE_PASSWORD).\n", 401, headers)
        answer.headers["Cache-Control"] = "no-store"
        await answer(scope, receive, send)

    def _wait_s(self, address: str) -> float:
        wrong = self._wrong.get(address, [])
        return wrong[-GUESSES] + WITHIN_S - self._now() if len(wrong) >= GUESSES else 0.0

    def _note(self, address: str) -> None:
        wrong = self._wrong.setdefault(address, [])
        wrong.append(self._now())
        del wrong[:-GUESSES]
        self._wrong.move_to_end(address)
        if len(self._wrong) > _ADDRESSES_MAX:
            self._wrong.popitem(last=False)


def _digest(password: str) -> bytes:
    # Digests have one length, so that a comparison does not reveal the password's length.
    return hashlib.sha256(password.encode()).digest()


def _password(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
