"""The lists of the last days as they would have been published: by the same code, from what was known then.

No ranker has seen a play of these days: the champion's hold-out covers them, or a version brings rankers of
its own for this (folder `backtest`). What a user had played before is never listed, whatever `exclude_seen`
says, as only other videos are judged; who or what the owner keeps off today's lists does not count.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nightreel.core.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files
from nightreel.core.logs import progress
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.backtest_files import Backtest, BacktestDay, contents_file, lists_file
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.tonight import read_plays
from pipelines.rankers import HybridRanker
from pipelines.rankers.objective import NEXT_DAY, has_backtest, objective_of
from scoring.backtest.night import PastNight, PastNights
from scoring.backtest.systems import Systems, all_systems
from scoring.backtest.writing import is_made, remove_others, write_lists
from scoring.database.publish import LIST_SETTINGS, list_inputs

__all__ = ["backtest"]

# Beside those of the published lists: of the label, and of the fits of the candidate sources.
_SETTINGS = LIST_SETTINGS | {
    "data.label",
    "data.like_threshold",
    "data.long_view_s",
    "data.like_quantile",
    "seed",
    "features.als_factors",
    "evaluation.backtest_users",
}


def backtest(settings: Settings, *, force: bool = False) -> StepResult:
    """Make the lists of the last `backtest_days` days as of each day's start, to `data/backtest`.

    A file whose inputs are the same is left as it is, so what was stopped goes on from there. Raises
    InputError where no model is trained, or tables or features are missing.
    """
    model = model_registry.champion(settings)
    read = list_inputs(settings)
    record = StepRecord(settings.paths.state / "backtest.json")
    inputs = {
        "files": fingerprint_of_files(read),
        "settings": settings.chosen(_SETTINGS),
        "model": model.version,
    }
    current = fingerprint(**inputs, days=settings.evaluation.backtest_days)
    wrote = contents_file(settings)
    if not force and record.is_done(current):
        return StepResult("backtest", True, (*read, model.folder), (wrote,), record.summary())
    record.forget()
    trained_before = _trained_before(model)
    known = settings.changed({"lists.exclude_seen": True, "lists.exclude_seen_days": None})
    ranker = HybridRanker.load(model.folder, threads=settings.threads)
    plays = read_plays(settings)
    nights = PastNights(plays, ranker.encoding, trained_before, known)
    systems, remarks = all_systems(plays, ranker, model, known)
    names = tuple(name for together in systems for name in together.names)
    files = [lists_file(settings, day.day, name) for day in nights.days for name in names]
    made = 0
    with progress("backtest", total=len(files)) as advance:
        for night in nights:
            for together in systems:
                made += _make(night, together, inputs, settings, force=force)
                advance(len(together.names))
    remove_others(settings, files)
    sampled = tuple(name for together in systems if together.sampled for name in together.names)
    if all(day.sampled_users == day.users for day in nights.days):
        sampled = ()
    remarks = [*nights.remarks, *remarks, *_of_some_users(sampled, nights.days, settings)]
    contents = Backtest(
        model.version, trained_before, names if files else (), sampled, nights.days, tuple(remarks)
    )
    contents.save(settings)
    summary = {
        "days": [day.day.isoformat() for day in nights.days],
        "systems": list(contents.systems),
        "lists_made": made,
        "trained_before": trained_before.isoformat(),
        **({"remarks": remarks} if remarks else {}),
    }
    record.finish(current, (wrote, *files), summary)
    return StepResult("backtest", False, (*read, model.folder), (settings.paths.backtest,), summary)


def _make(
    night: PastNight, together: Systems, inputs: dict[str, Any], settings: Settings, *, force: bool
) -> int:
    """Make a night's lists of some systems, as far as they are not there; how many files were written."""
    missing = {}
    for name in together.names:
        path = lists_file(settings, night.day.day, name)
        of_file = fingerprint(**inputs, system=name, day=night.day.as_of)
        if force or not is_made(path, of_file):
            missing[name] = (path, of_file)
    if missing:
        write_lists(missing, together.make(night.sampled if together.sampled else night, missing))
    return len(missing)


def _of_some_users(sampled: Sequence[str], days: Sequence[BacktestDay], settings: Settings) -> list[str]:
    if not sampled:
        return []
    users = max(day.sampled_users for day in days)
    return [
        f"{', '.join(sampled)}: lists and figures of {users:,} users, by hash ([evaluation] backtest_users = "
        f"{settings.evaluation.backtest_users})."
    ]


def _trained_before(model: ModelVersion) -> datetime:
    """The instant from which on the rankers that make the lists of past days saw no play."""
    data = model.manifest["data"]
    if objective_of(model) == NEXT_DAY and not has_backtest(model.folder):
        # Its log was too short to train another without the last days.
        return datetime.fromisoformat(data["last_play"])
    return datetime.fromisoformat(data["holdout_from"])
