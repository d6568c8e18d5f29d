"""Replay a night: its instant, its model, and only what had arrived when it was scored.

If nothing has arrived since, the home's own tables and features are those of that night and are used.
Otherwise tables and features are built again from the rows known then, in a folder of the home that is
removed once users and videos are described.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from feature_repo.home import features_in_postgresql, working_on
from feature_repo.open_store import apply_definitions
from feature_repo.sources import point_sources_at
from nightreel.core import columns
from nightreel.core.clock import SKEW, require_not_future
from nightreel.core.disk import full_disk_named, size_of
from nightreel.core.errors import InputError
from nightreel.core.locks import HOME_WAIT_S, locked_file
from nightreel.core.settings.needs import DatabaseNeeds, NightNeeds, PublishNeeds
from pipelines.features import build_features
from pipelines.known import known_now, last_arrival, write_tables_as_of
from pipelines.local_days import ALWAYS_KNOWN
from scoring.database.connection import reading
from scoring.database.schema import SCHEMA_VERSION, recorded_version
from scoring.database.tables import FAILED, RUNNING, recommendation_run
from scoring.database.url import database_exists
from scoring.lists.eligibility import default_as_of

FOLDER = "replay"
_key = recommendation_run.c[columns.RUN_ID]


@dataclass(frozen=True)
class Moment:
    """The instant that lists are made for.

    Attributes:
        knew_less: deliveries have arrived since `known_at`.
        is_past: lists made now would be for a later instant, or use more deliveries.
    """

    as_of: datetime
    known_at: datetime
    knew_less: bool
    is_past: bool


def moment_of(
    settings: PublishNeeds,
    as_of: datetime | None,
    known_at: datetime | None,
    model_version: str | None,
    *,
    now: datetime,
) -> Moment:
    """The instant asked for, or the default. Raises InputError for an instant after now."""
    instant = default_as_of(settings.paths, settings.data, now) if as_of is None else _checked(as_of, now)
    if as_of is not None and known_at is None:
        known_at = known_at_of(settings, instant, model_version)
    known = known_now(settings.paths, settings.data)
    # If nothing has arrived since, the same is known as then.
    knew_less = known_at is not None and known_at < last_arrival(settings.paths)
    # An as-of of this very minute is not a replay, though some seconds have passed since.
    earlier = as_of is not None and instant < default_as_of(settings.paths, settings.data, now - SKEW)
    # What arrives after now is not known, even if a later instant was named.
    return Moment(instant, min(known_at or known, known), knew_less, earlier or knew_less)


def _checked(as_of: datetime, now: datetime) -> datetime:
    if as_of.tzinfo is None:
        raise InputError(f"as-of {as_of.isoformat()}: the zone is missing.", "Add it, like +08:00 or Z.")
    require_not_future("as-of", as_of, now)
    return as_of.astimezone(UTC)


def known_at_of(settings: DatabaseNeeds, as_of: datetime, model_version: str | None) -> datetime | None:
    """The `known_at` of the newest stored run of this instant (and model, if given); None without one.

    Runs stored by an older nightreel count as having used the first load only.
    """
    if not database_exists(settings):
        return None
    with reading(settings) as connection:
        if recorded_version(connection) != SCHEMA_VERSION:
            return None
        status = recommendation_run.c.status
        runs = select(recommendation_run).where(
            recommendation_run.c.as_of == as_of, status.not_in([FAILED, RUNNING])
        )
        if model_version is not None:
            runs = runs.where(recommendation_run.c.model_version == model_version)
        run = connection.execute(runs.order_by(_key.desc()).limit(1)).first()
    return None if run is None else run.known_at or ALWAYS_KNOWN


@contextmanager
def as_known_at(settings: NightNeeds, known_at: datetime) -> Iterator[NightNeeds]:
    """A home whose tables and features hold only what had arrived by an instant; Feast works on it."""
    if last_arrival(settings.paths) <= known_at:
        yield settings
        return
    if features_in_postgresql():
        raise InputError(
            "A replay of what was known before later deliveries is made from parquet, not in PostgreSQL.",
            "Unset FEAST_FS_YAML_FILE_PATH for it.",
        )
    folder = settings.paths.data / FOLDER
    then = settings.changed({"home": folder})
    lock = settings.paths.state / f"{FOLDER}.lock"
    with locked_file(lock, "makes an earlier night of this home again", wait_s=HOME_WAIT_S):
        # A process that was killed has left it.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with full_disk_named(folder, needed_bytes=size_of(settings.paths.tables)):
                write_tables_as_of(known_at, settings.paths, then.paths)
            with working_on(then):
                build_features(then)
                apply_definitions(then)
                yield then
        finally:
            point_sources_at(settings.paths)
            shutil.rmtree(folder, ignore_errors=True)
