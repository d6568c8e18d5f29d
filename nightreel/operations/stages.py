"""Runs a job's stages one after the other: each logged in one line, tried again where that may help."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Required, TypedDict

from nightreel.core.disk import full_disk_named
from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.logs import get_logger
from nightreel.core.settings import Paths
from nightreel.core.steps import Facts, StepResult
from scoring.database.failures import DatabaseAwayError

RETRY_WAIT_S = 10.0
# Five minutes in all: longer than a database takes to start anew, shorter than a failure should stay unknown.
RETRIES = 5
"""Seconds before the first further try of a stage; each later one waits twice that."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class Stage:
    """One step of a job; if it is `optional`, the job continues with a remark when it fails."""

    name: str
    work: Callable[[], StepResult[Facts]]
    optional: bool = False


class StageFacts(TypedDict, total=False):
    """What a stage did; `failed` only if it did, `rows` and `parts` only if the step says them."""

    seconds: Required[float]
    skipped: bool
    failed: bool
    rows: int
    parts: Mapping[str, float]


@dataclass
class Outcome:
    """What the stages did: seconds and rows of each, remarks, and the lists' run."""

    stages: dict[str, StageFacts] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    run_id: int | None = None


def run_stages(
    stages: Iterable[Stage],
    paths: Paths,
    outcome: Outcome,
    *,
    retry_busy: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run each stage, and record in `outcome` what it did; an error ends the job.

    If the database cannot be reached or is busy, the stage is retried up to RETRIES times, with a wait that
    doubles each time. An optional stage that fails becomes a remark.

    Args:
        retry_busy: whether to retry if another process holds the database.
    """
    for stage in stages:
        started = time.monotonic()
        try:
            result = _with_retries(stage, paths, sleep, retry_busy=retry_busy)
        except NightreelError as error:
            seconds = round(time.monotonic() - started, 3)
            outcome.stages[stage.name] = {"seconds": seconds, "failed": True}
            _log.error("stage failed", stage=stage.name, seconds=seconds, error=str(error))
            if not stage.optional:
                raise
            outcome.remarks.append(f"{stage.name}: {error}")
        else:
            _note(outcome, stage.name, result, round(time.monotonic() - started, 3))


def _with_retries(
    stage: Stage, paths: Paths, sleep: Callable[[float], None], *, retry_busy: bool
) -> StepResult[Facts]:
    for attempt in range(RETRIES + 1):
        try:
            with full_disk_named(paths.home):
                return stage.work()
        except (DatabaseAwayError, BusyError) as error:
            if attempt == RETRIES or (isinstance(error, BusyError) and not retry_busy):
                raise
            wait_s = RETRY_WAIT_S * 2**attempt
            _log.warning("stage is tried again", stage=stage.name, wait_s=wait_s, reason=str(error))
            sleep(wait_s)
    raise AssertionError("a stage has at least one try")


def _note(outcome: Outcome, name: str, result: StepResult[Facts], seconds: float) -> None:
    facts = result.facts
    noted: StageFacts = {"seconds": seconds, "skipped": result.skipped}
    if facts.rows_written is not None:
        noted["rows"] = facts.rows_written
    if facts.part_seconds is not None:
        noted["parts"] = facts.part_seconds
    outcome.stages[name] = noted
    # What two stages say, such as of a file that neither reads, is said once.
    outcome.remarks += [said for said in facts.for_the_record if said not in outcome.remarks]
    outcome.run_id = facts.lists_run if facts.lists_run is not None else outcome.run_id
    _log.info("stage", stage=name, **noted)
