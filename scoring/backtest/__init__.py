"""The lists of the last days as they would have been published: the same code, given what was known then.

No ranker has seen a play of these days: either they are the champion's hold-out, or the version has rankers
of its own for them (folder `backtest`). Videos that the user had played are never listed, whatever
`[lists.exclude] seen` says, because only new videos are judged. Today's blocklist and skipped users are
ignored. The rules of `list_rule` apply on the days on which they are in force.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import fingerprint, fingerprint_of_files
from nightreel.core.beside import Start, work_beside
from nightreel.core.logs import Advance, progress
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import NightNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines import model_registry
from pipelines.backtest_files import Backtest, BacktestDay, contents_file, lists_file
from pipelines.labels import LengthBuckets
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.night import Night
from pipelines.rankers import HybridRanker
from pipelines.rankers.objective import NEXT_DAY, has_backtest, objective_of
from pipelines.user_sample import UserSample
from scoring.backtest.night import PastNight, PastNights
from scoring.backtest.shared import make_shared
from scoring.backtest.systems import Systems, all_systems
from scoring.backtest.writing import is_made, remove_others, write_lists
from scoring.database.exclusions import owner_rules
from scoring.database.list_inputs import list_files, list_inputs
from scoring.database.run_digest import LIST_SETTINGS, SHARED_LIST_SETTINGS

__all__ = ["BACKTEST", "backtest"]

# Beside those of the published lists.
_SETTINGS = (
    *LIST_SETTINGS,
    "features.als.factors",
    "evaluation.backtest_days",
)


class BacktestFacts(Facts):
    """The days and systems with lists, how many lists were made now, and what the rankers had seen."""

    days: list[str]
    systems: list[str]
    lists_made: int
    trained_before: str


def backtest(settings: NightNeeds, *, force: bool = False) -> StepResult[BacktestFacts]:
    """Make the lists of the last `backtest_days` days, as of each day's start, in `data/backtest`.

    A file whose inputs have not changed is kept, so an interrupted backtest continues where it stopped.

    Raises:
        InputError: no model is trained, or tables or features are missing.
    """
    model = model_registry.champion(settings.paths)
    read = list_inputs(settings)
    owner = owner_rules(settings)
    rules = [vars(rule) for rule in owner]
    attempt = BACKTEST.attempt(settings, read, force=force, model=model.version, rules=rules)
    wrote = contents_file(settings.paths)
    if attempt.known is not None:
        return BACKTEST.skipped((*read, model.folder), (wrote,), attempt.known)
    attempt.begin()
    # A night's lists stay where only the number of nights has changed, or lists that are not a user's.
    others = {"evaluation.backtest_days", *SHARED_LIST_SETTINGS}
    of_a_night = {n: one for n, one in BACKTEST.settings_in(settings).items() if n not in others}
    inputs: dict[str, Any] = {"files": fingerprint_of_files(read), "settings": of_a_night}
    inputs |= {"model": model.version, "rules": rules}
    trained_before = _trained_before(model)
    known = settings.changed({"lists.exclude.seen": True, "lists.exclude.seen_days": None})
    ranker = HybridRanker.load(model.folder, threads=settings.threads)
    sample, buckets = UserSample.of(settings), LengthBuckets.load(model.folder)
    plays = sample.read(settings.paths)
    nights = PastNights(plays, ranker, trained_before, known, owner)
    systems, remarks = all_systems(plays, model, known.data, known.retrieval)
    names = tuple(name for together in systems for name in together.names)
    files = [lists_file(settings.paths, day.day, name) for day in nights.days for name in names]
    shared: list[Path] = []
    made = 0
    with progress("backtest", total=len(files)) as advance:
        for night in nights:
            shared += make_shared(night, inputs, settings, buckets, force=force)
            missing = [_missing(night, together, inputs, settings.paths, force=force) for together in systems]
            made += sum(map(len, missing))
            with work_beside(settings.threads) as start:
                _make(night, list(zip(systems, missing, strict=True)), start, advance)
    remove_others(settings.paths, [*files, *shared])
    sampled = tuple(name for together in systems if together.sampled for name in together.names)
    if all(day.sampled_users == day.users for day in nights.days):
        sampled = ()
    remarks = [*sample.remarks(), *nights.remarks, *remarks, *_of_some_users(sampled, nights.days)]
    contents = Backtest(
        model.version, trained_before, names if files else (), sampled, nights.days, tuple(remarks)
    )
    contents.save(settings)
    facts = BacktestFacts(
        days=[day.day.isoformat() for day in nights.days],
        systems=list(contents.systems),
        lists_made=made,
        trained_before=trained_before.isoformat(),
        remarks=tuple(remarks) or None,
    )
    outputs = (wrote, *files, *shared)
    return attempt.finished((*read, model.folder), (settings.paths.backtest,), facts, outputs=outputs)


def _missing(
    night: PastNight, together: Systems, inputs: dict[str, Any], paths: Paths, *, force: bool
) -> dict[str, tuple[Path, str]]:
    """The systems whose lists of a night are not there: name -> their file and the digest of its inputs."""
    missing = {}
    for name in together.names:
        path = lists_file(paths, night.day.day, name)
        of_file = fingerprint(**inputs, system=name, day=night.day.as_of)
        if force or not is_made(path, of_file):
            missing[name] = (path, of_file)
    return missing


def _make(
    night: PastNight,
    systems: Sequence[tuple[Systems, dict[str, tuple[Path, str]]]],
    start: Start,
    advance: Advance,
) -> None:
    """Make and write the missing lists of a night.

    The sources are fitted beside the lists of systems that do without them, and then the lists that need only
    one thread are made beside the others.
    """
    fitted: Future[Night] | None = None
    for together, missing in systems:
        if missing and together.uses_sources and fitted is None:
            fitted = start(_night_of, night.sampled if together.sampled else night)
    beside = [
        (together, start(_write, night, together, missing))
        for together, missing in systems
        if not together.uses_threads
    ]
    for together, missing in systems:
        if together.uses_threads:
            if missing and together.uses_sources and fitted is not None:
                fitted.result()
            _write(night, together, missing)
            advance(len(together.names))
    for together, written in beside:
        written.result()
        advance(len(together.names))


def _write(night: PastNight, together: Systems, missing: dict[str, tuple[Path, str]]) -> None:
    if missing:
        write_lists(missing, together.make(night.sampled if together.sampled else night, missing))


def _night_of(night: PastNight) -> Night:
    return night.night


def _of_some_users(sampled: Sequence[str], days: Sequence[BacktestDay]) -> list[str]:
    if not sampled:
        return []
    users = max(day.sampled_users for day in days)
    return [f"{', '.join(sampled)}: lists and figures of {users:,} users, by hash."]


def _trained_before(model: ModelVersion) -> datetime:
    """The instant from which on the rankers that make the lists of past days saw no play."""
    if objective_of(model) == NEXT_DAY and not has_backtest(model.folder):
        # Its log was too short to train another without the last days.
        return model.last_play
    return model.fitted_before


BACKTEST: Step[BacktestFacts] = Step(
    name="backtest",
    does="Make the lists of the last days as of each day's start, by rankers that have not seen them.",
    reads=lambda settings: (*list_files(settings), settings.paths.models),
    writes=lambda settings: (settings.paths.backtest,),
    settings=_SETTINGS,
    facts=BacktestFacts,
    run=lambda settings, request: backtest(settings, force=request.force),
)
