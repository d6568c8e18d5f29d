"""Runs a job's stages, in order or side by side: each logged in one line, tried again where that may help."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Required, TypedDict

from nightreel.core.disk import full_disk_named
from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.logs import get_logger
from nightreel.core.settings import Paths
from nightreel.core.steps import Facts, StepResult
from scoring.database.failures import DatabaseAwayError

RETRY_WAIT_S = 10.0
# Five minutes in all: longer than a database takes to restart, shorter than a failure should stay unknown.
RETRIES = 5
"""Seconds before the first further try of a stage; each later one waits twice that."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class Stage:
    """One step of a job.

    Attributes:
        optional: whether the job continues with a remark if it fails.
        beside_next: whether it may run beside the stage that follows, which does not need it.
    """

    name: str
    work: Callable[[], StepResult[Facts]]
    optional: bool = False
    beside_next: bool = False


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

    Stages that may run beside the next one do so in a thread; the one after that waits for all of them.

    If the database cannot be reached or is busy, the stage is retried up to RETRIES times, with a wait that
    doubles each time. An optional stage that fails becomes a remark.

    Args:
        retry_busy: whether to retry if another process holds the database.
    """

    def ended(stage: Stage) -> _Ended:
        return _run(stage, paths, sleep, retry_busy=retry_busy)

    for *beside, stage in _side_by_side(stages):
        with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
            # One after the other, so that no more than two stages run at a time.
            others = [pool.submit(ended, one) for one in beside]
            last = ended(stage)
            for one in (*(other.result() for other in others), last):
                _settle(one, outcome)


@dataclass(frozen=True)
class _Ended:
    """How a stage ended: with a result or an error."""

    stage: Stage
    seconds: float
    result: StepResult[Facts] | None = None
    error: NightreelError | None = None


def _side_by_side(stages: Iterable[Stage]) -> Iterator[list[Stage]]:
    """Groups of stages: the last of each, and those that may run beside it."""
    group: list[Stage] = []
    for stage in stages:
        group.append(stage)
        if not stage.beside_next:
            yield group
            group = []
    if group:
        yield group


def _run(stage: Stage, paths: Paths, sleep: Callable[[float], None], *, retry_busy: bool) -> _Ended:
    started = time.monotonic()
    try:
        result = _with_retries(stage, paths, sleep, retry_busy=retry_busy)
    except NightreelError as error:
        return _Ended(stage, round(time.monotonic() - started, 3), error=error)
    return _Ended(stage, round(time.monotonic() - started, 3), result)


def _settle(ended: _Ended, outcome: Outcome) -> None:
    """Record and log how a stage ended; raises its error unless it is optional."""
    stage, error = ended.stage, ended.error
    if ended.result is not None:
        _note(outcome, stage.name, ended.result, ended.seconds)
    elif error is not None:
        outcome.stages[stage.name] = {"seconds": ended.seconds, "failed": True}
        _log.error("stage failed", stage=stage.name, seconds=ended.seconds, error=str(error))
        if not stage.optional:
            raise error
        outcome.remarks.append(f"{stage.name}: {error}")


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
    # A remark of two stages, such as one on a file that neither reads, is kept once.
    outcome.remarks += [said for said in facts.for_the_record if said not in outcome.remarks]
    outcome.run_id = facts.lists_run if facts.lists_run is not None else outcome.run_id
    _log.info("stage", stage=name, **noted)
