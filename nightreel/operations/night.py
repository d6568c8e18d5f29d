"""The scheduled jobs: the stages of each, run in a process of its own.

`python -m nightreel.operations.night JOB DUE_AT`: JOB is `night` or `retrain`, DUE_AT an instant in ISO 8601.
Settings come from the environment.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

import nightreel.core.environment  # noqa: F401  # before anything that imports NumPy
from nightreel.core import logs
from nightreel.core.disk import DiskFullError, disk_full, full_path, is_disk_full
from nightreel.core.errors import NightreelError
from nightreel.core.extras import require_extras
from nightreel.core.lease import exclusive_home
from nightreel.core.mirror import fetch, send
from nightreel.core.printing import print_error
from nightreel.core.settings import ScheduleSettings, Settings, load_settings
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.core.steps import Facts, Request, StepResult
from nightreel.core.terminal import guard_streams
from nightreel.operations import jobs
from nightreel.operations.after_now import found_after
from nightreel.operations.jobs import NIGHT, RETRAIN, Job
from nightreel.operations.stages import Outcome, Stage, run_stages
from nightreel.operations.supervise import STOP_WITHIN_S
from nightreel.operations.turns import FIRST_TURNS, Turn
from scoring.database.connection import sql_engine
from scoring.database.failures import translate_errors
from scoring.database.sqlite_journal import keep_readable
from scoring.database.url import database_url
from scoring.database.writer import sole_job

_STOPPED = 128 + signal.SIGTERM
_log = logs.get_logger(__name__)


def command(job: Job) -> list[str]:
    """The command that runs this job in a process of its own."""
    return [sys.executable, "-m", "nightreel.operations.night", job.name, job.due_at.isoformat()]


def night_stages(settings: Settings) -> Iterator[Stage]:
    """From the day's files to the published lists."""
    return _stages(NIGHT, settings)


def retrain_stages(settings: Settings) -> Iterator[Stage]:
    """Train a new model, and make it champion if it is not worse on the holdout."""
    return _stages(RETRAIN, settings)


def _stages(job: str, settings: Settings) -> Iterator[Stage]:
    """The job's stages, the first of which run while the steps of the others are imported."""
    with ThreadPoolExecutor(1, thread_name_prefix="import") as pool:
        imported = pool.submit(import_module, "nightreel.operations.sequence")
        yield from (_stage(turn, settings) for turn in FIRST_TURNS if turn.is_of(job, settings))
        turns_of = imported.result().turns_of
    yield from (_stage(turn, settings) for turn in turns_of(job, settings) if turn not in FIRST_TURNS)


def _stage(turn: Turn, settings: Settings) -> Stage:
    return Stage(
        turn.step.name,
        partial(turn.step.run, settings, Request()),
        optional=turn.optional,
        beside_next=turn.beside_next,
    )


def run_job(settings: DatabaseNeeds, job: Job, stages: Iterable[Stage]) -> None:
    """Run the stages as the only job on this database, and record the outcome.

    Raises:
        BusyError: another process runs a job. Errors that end the job pass through, too.
    """
    opened = sql_engine(settings)
    outcome = Outcome()
    with ExitStack() as stack:

        def begin() -> StepResult[Facts]:
            with translate_errors(database_url(settings)):
                stack.enter_context(sole_job(opened))
            jobs.begin(settings, job)
            remarks = (f"{line}: it is ignored" for line in found_after(settings, datetime.now(UTC)))
            return StepResult("begin", False, (), (), Facts(remarks=tuple(remarks)))

        run_stages([Stage("begin", begin)], settings.paths, outcome, retry_busy=False)
        try:
            run_stages(stages, settings.paths, outcome)
        except Exception as error:
            reason = str(error) if isinstance(error, NightreelError) else f"{type(error).__name__}: {error}"
            _record(settings, job, outcome, reason)
            raise
        _record(settings, job, outcome, None)


def _record(settings: DatabaseNeeds, job: Job, outcome: Outcome, error: str | None) -> None:
    def record() -> StepResult[Facts]:
        jobs.end(
            settings,
            job,
            error=error,
            run_id=outcome.run_id,
            stages=outcome.stages,
            remarks=outcome.remarks,
        )
        return StepResult("record", False, (), (), Facts())

    # What this stage reports comes too late for the record.
    run_stages([Stage("record", record)], settings.paths, Outcome())


@contextmanager
def _limited(settings: ScheduleSettings) -> Iterator[None]:
    """SIGTERM ends the work in order; if the scheduler is gone, an alarm ends it later."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        sys.exit(_STOPPED)

    signal.signal(signal.SIGTERM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * settings.job_limit_minutes + 2 * STOP_WITHIN_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Run one job; exit with the command line's exit codes."""
    guard_streams()
    logs.configure()
    try:
        settings = load_settings()
        require_extras(settings)
        name, due_at = sys.argv[1:]
        job = Job(name, datetime.fromisoformat(due_at))
        with exclusive_home(settings) as lease:
            fetch(settings)
            # The home that was fetched may have a nightreel.toml of its own.
            settings = load_settings()
            with _limited(settings.schedule):
                try:
                    run_job(settings, job, {NIGHT: night_stages, RETRAIN: retrain_stages}[name](settings))
                finally:
                    # Also after a failed job: what it finished is kept, and its record says why it failed.
                    send(settings, lease)
    except NightreelError as error:
        print_error(str(error))
        if isinstance(error, DiskFullError):
            with suppress(NightreelError):
                keep_readable(load_settings())
        sys.exit(error.exit_code)
    except Exception as error:
        if is_disk_full(error):
            print_error(str(disk_full(full_path(error, Path.cwd()), error)))
            sys.exit(1)
        if os.environ.get("NIGHTREEL_DEBUG_TRACEBACKS"):
            _log.exception("unexpected")
        print_error(f"unexpected {type(error).__name__}: {error}. `nightreel --debug schedule` shows where.")
        sys.exit(1)


if __name__ == "__main__":
    main()
