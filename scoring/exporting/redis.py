"""Puts a run's lists into Redis, all of them at one instant: apps read a user's list with one HGET."""

import json
import uuid
from typing import TYPE_CHECKING, Any

from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import masked_url
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.core.steps import StepResult
from scoring.database.connection import reading
from scoring.database.kept_runs import run_or_shown
from scoring.database.schema import require_current
from scoring.exporting.facts import ExportFacts
from scoring.exporting.reading import NAMES, Rows, lists_by_user

if TYPE_CHECKING:
    from redis import Redis

SCHEMES = ("redis", "rediss")
_USERS_AT_A_TIME = 1_000
_TIMEOUT_S = 30
# What a killed export has left expires.
_LEFT_S = 3600
_SHOWN = (columns.VIDEO_ID, columns.SCORE, columns.SOURCE)


def export_to_redis(
    settings: DatabaseNeeds, url: str, key: str, run_id: int | None
) -> StepResult[ExportFacts]:
    """Put the lists into a Redis hash under `key`, one field per user, and the run's facts into `<key>:run`.

    A field's value is a JSON list of video_id, score and source, best first. Lists are loaded under another
    key and renamed in one transaction, so that a reader always sees one complete run.

    Raises:
        InputError: the URL is malformed, the extra is missing, or the run has no lists.
        NightreelError: the server does not answer.
    """
    opened = _open(url)
    from redis.exceptions import RedisError

    loading = f"{key}:loading:{uuid.uuid4().hex}"
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first, or name a --run.")
        users = 0
        try:
            batch: dict[str, str] = {}
            for user, (rows,) in lists_by_user(connection, (run.run_id,)):
                batch[str(user)] = _value(rows)
                users += 1
                if len(batch) == _USERS_AT_A_TIME:
                    _load(opened, loading, batch)
                    batch = {}
            if batch:
                _load(opened, loading, batch)
            about = {
                columns.RUN_ID: run.run_id,
                "as_of": run.as_of.isoformat(),
                "model_version": run.model_version,
                "users": users,
            }
            with opened.pipeline(transaction=True) as together:
                together.persist(loading)
                together.rename(loading, key)
                together.delete(f"{key}:run")
                together.hset(f"{key}:run", mapping=about)
                together.execute()
        except RedisError as error:
            raise NightreelError(
                f"{masked_url(url)}: {str(error).rstrip('.')}.",
                "The lists in Redis are unchanged; try again.",
            ) from None
    facts = ExportFacts(run_id=run.run_id, status=run.status, users=users, key=key)
    return StepResult("export", False, (), (masked_url(url),), facts)


def _open(url: str) -> "Redis":
    try:
        import redis
    except ImportError:
        raise InputError(
            f"{masked_url(url)}: the client of Redis is not installed.",
            "Install the extra: `pip install 'nightreel[redis]'`.",
        ) from None
    try:
        return redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    except ValueError as error:
        raise InputError(
            f"{masked_url(url)}: {error}.", "Write it like redis://:PASSWORD@host:6379/0."
        ) from None


def _load(opened: "Redis", loading: str, batch: dict[str, str]) -> None:
    with opened.pipeline(transaction=False) as together:
        together.hset(loading, mapping=dict[Any, Any](batch))
        together.expire(loading, _LEFT_S)
        together.execute()


def _value(rows: Rows) -> str:
    at = [NAMES.index(name) for name in _SHOWN]
    return json.dumps([{name: row[n] for name, n in zip(_SHOWN, at, strict=True)} for row in rows])
