"""Addresses of databases without their passwords, and homes that are URLs."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

URL_SCHEMES = ("s3", "gs", "file")
_WITH_PASSWORD = re.compile(
    r"(?P<start>(?!sqlite)[\w+]+://[^:/]*:)(?P<password>[^@]*)@(?P<rest>.*)", re.DOTALL | re.IGNORECASE
)
# An option that contains an `@` in a URL without a user: SQLAlchemy would read the part before it as the user
# and the rest as the host.
_OPTION_WITH_AT = re.compile(
    r"(?!sqlite)[\w+]+://[^@]*\?([^@]*&)?[a-z_]+=[^@]*@.*", re.DOTALL | re.IGNORECASE
)
_OPTIONS_SHOWN = (
    "host",
    "port",
    "dbname",
    "user",
    "sslmode",
    "application_name",
    "connect_timeout",
    "options",
)


def url_of(path: Path) -> str | None:
    """The URL that was given as a path, in which only one slash is left; None for a real path."""
    scheme, colon, rest = str(path).partition(":/")
    if not colon or scheme not in URL_SCHEMES:
        return None
    return f"{scheme}://{rest}" if scheme != "file" else f"file:///{rest}"


def working_folder(url: str, variables: Mapping[str, str]) -> Path:
    """The local folder for the home at a URL: the same path on every machine.

    Args:
        variables: of the environment. XDG_CACHE_HOME says where what can be fetched again is kept.
    """
    cache = Path(variables.get("XDG_CACHE_HOME", ""))
    work_dir = (cache if cache.is_absolute() else Path("/var/tmp")) / "nightreel"
    digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    return work_dir / f"{url.rstrip('/').rpartition('/')[2]}-{digest}"


def parsed_url(url: "str | URL") -> "URL":
    """The URL's parts; the password may contain an unescaped `@`.

    SQLAlchemy ends a password at its first `@`, so that the rest would be shown as part of the host.

    Raises:
        ValueError: where the password ends is ambiguous.
        ArgumentError: it is not a URL.
    """
    from sqlalchemy.engine import make_url

    if isinstance(url, str) and _OPTION_WITH_AT.fullmatch(url):
        raise ValueError("an option that holds an `@`")
    written = _WITH_PASSWORD.fullmatch(url) if isinstance(url, str) else None
    if written is None:
        return make_url(url)
    if "@" in written["start"] and "/" in written["password"]:
        raise ValueError("a user and an option that both hold an `@`")
    if "@" not in written["rest"]:
        return make_url(url)
    tail, _, rest = written["rest"].rpartition("@")
    if any(character in tail for character in "/?"):
        raise ValueError("an `@` that may be the password's or not")
    return make_url(f"{written['start']}{written['password']}%40{tail.replace('@', '%40')}@{rest}")


def masked_url(url: "str | URL") -> str:
    """The URL without its password, safe to log; fully masked if it cannot be parsed."""
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = parsed_url(url)
    except (ArgumentError, ValueError):
        return "***"
    # A password may also be among the options: `?password=...`.
    shown = {name: value if name in _OPTIONS_SHOWN else "***" for name, value in parsed.query.items()}
    return parsed.set(query=shown).render_as_string(hide_password=True)
