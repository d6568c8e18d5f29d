"""Forgets a user: first in raw files, so that no later step brings them back; then everywhere else."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.locks import home_lock
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds, ForgetNeeds, NightNeeds, PublishNeeds
from nightreel.core.steps import Facts, StepResult
from nightreel.operations.forgetting.databases import remove_from_lists, remove_from_online_store
from nightreel.operations.forgetting.identity import Person
from nightreel.operations.forgetting.raw_files import Removed, remove_from_raw_files, require_searchable
from nightreel.operations.forgetting.stored_files import MADE_AGAIN, RECORDS, remove_from_stored_files
from pipelines import model_registry
from pipelines.ingest.ids import forget_id
from scoring.database.connection import sql_engine
from scoring.database.failures import translate_errors
from scoring.database.url import database_exists, database_url
from scoring.database.writer import sole_job

_STORE_FILE = "FEAST_FS_YAML_FILE_PATH"


class ForgetFacts(Facts):
    """Numbers of removed rows by kind (or that there were none), and what was not searched or remains."""

    removed: dict[str, int] | str
    left: list[str] | None = Field(None, serialization_alias="not looked through")
    remains: str | None = None
    following: str | None = Field(None, serialization_alias="next")


def forget(settings: ForgetNeeds, user_id: int | str, *, retrain: bool = False) -> StepResult[ForgetFacts]:
    """Remove a user from raw files, deliveries, tables, features, the online store and all kept lists.

    If it is killed at any instant, running it again does the rest. A record that does not contain the user is
    kept in data/forgotten.

    Args:
        user_id: as in the log.
        retrain: also train a model without the user, make it the champion and remove the other models.

    Raises:
        BusyError: another process works on the home or the database.
        InputError: the home or its raw files are at a URL, or a file cannot be read.
    """
    if settings.home_url is not None or settings.data.raw_url is not None:
        raise InputError(
            "forget: home and raw files behind a URL are not searched.",
            "Fetch them to this machine's disk, forget there, and put them back; older versions of objects "
            "remain.",
        )
    ids = Ids.of(settings.paths, columns.USER_ID)
    given = ids.given(str(user_id))
    person, removed = Person(given, ids.code_of(given)), Removed()
    with _alone(settings):
        require_searchable(settings.paths, settings.data, person)
        remove_from_raw_files(settings.paths, settings.data, person, removed)
        remove_from_stored_files(settings, person, removed)
        if os.environ.get(_STORE_FILE):
            from feature_repo.open_store import fill_tables

            fill_tables(settings)
            removed.left.append("Feast's online store is another than the home's own: materialize it again")
        remove_from_online_store(settings.paths.online_store, person, removed)
        remove_from_lists(settings, person, removed)
        # Last, since forgetting again after a crash needs the code to find the remaining rows.
        removed.counts["ids"] += forget_id(ids, given)
        counts = {name: n for name, n in sorted(removed.counts.items()) if n}
        if counts.keys() == {MADE_AGAIN}:
            counts = {}  # they are removed without being read
        models = model_registry.version_names(settings.paths)
        if retrain:
            _retrain(settings)
        record = _record(settings.paths, counts, removed.left, models, retrain=retrain) if counts else None
    wrote = () if record is None else (record,)
    remains = (
        f"{len(models)} trained models have learnt from this user's plays among all others; they hold no "
        "row of them. --retrain ends that"
    )
    following = "the next night reads the raw files and fits features and factors without them"
    facts = ForgetFacts(
        removed=counts or "nothing: no row of this user was found",
        left=removed.left or None,
        remains=remains if models and not retrain else None,
        following=following if counts else None,
        remarks=tuple(_arms_without_model(settings)) or None,
    )
    return StepResult("forget", False, (settings.data.raw_dir, settings.paths.data), wrote, facts)


@contextmanager
def _alone(settings: DatabaseNeeds) -> Iterator[None]:
    """Keep the night's job and all other steps off the home until the block ends."""
    with home_lock(settings.paths.state, "forget"):
        if not database_exists(settings):
            yield
            return
        with translate_errors(database_url(settings)), sole_job(sql_engine(settings)):
            yield


def _retrain(settings: NightNeeds) -> None:
    """A champion that has seen nothing of the user; versions that have are removed."""
    from feature_repo.open_store import apply_definitions
    from pipelines.features import build_features
    from pipelines.ingest import ingest
    from pipelines.rankers import train

    ingest(settings, force=True)
    build_features(settings, force=True)
    apply_definitions(settings)
    version = train(settings, force=True).facts.version
    model_registry.promote(settings.paths, model_registry.find(settings.paths, version))
    for name in model_registry.version_names(settings.paths):
        if name != version:
            shutil.rmtree(settings.paths.models / name)


def _arms_without_model(settings: PublishNeeds) -> list[str]:
    """A line for each arm of the experiment whose model is gone: no list is made until it is mended."""
    there = model_registry.version_names(settings.paths)
    return [
        f"arm {name} of [experiments] names the model {arm.model}, which is gone: name another"
        for name, arm in settings.experiments.arms.items()
        if arm.model is not None and arm.model not in there
    ]


def _record(
    paths: Paths, counts: dict[str, int], left: list[str], models: list[str], *, retrain: bool
) -> Path:
    """What was removed and when, without the user."""
    now = datetime.now(UTC)
    path = paths.data / RECORDS / f"{now:%Y%m%dT%H%M%S.%fZ}.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        "removed": counts,
        "not_looked_through": left,
        "models_before": models,
        "trained_again": retrain,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path
