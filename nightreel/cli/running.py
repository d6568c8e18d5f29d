"""Work that every command does around its step: settings before it; result, timing and mirror after it."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from nightreel.cli.options import JSON, PATHS, asked_for

if TYPE_CHECKING:
    from nightreel.core.lease import Lease
    from nightreel.core.settings import Settings
    from nightreel.core.steps import Facts, Step, StepResult

Result = TypeVar("Result")


def command_settings(*, makes_home: bool = False, reads_raw: bool = False) -> "Settings":
    """The settings in force.

    Args:
        makes_home: the command may create a home.
        reads_raw: it needs raw files; a home that contains the raw folder must exist already.
    """
    from nightreel.core import logs
    from nightreel.core.settings import load_settings, require_home

    logs.configure()
    settings = load_settings()
    of_itself = reads_raw and settings.data.raw_url is None and settings.home in settings.data.raw_dir.parents
    require_home(settings, may_be_new=makes_home and not of_itself)
    if settings.home_url is None and settings.data.raw_url is None:
        return settings
    from nightreel.core.mirror import fetch

    fetch(settings)
    # The home that was fetched may have a nightreel.toml of its own.
    return load_settings()


def engine_settings(*, makes_home: bool = False) -> "Settings":
    """The settings of a command that may use a cluster, after checking that Ray is installed if it does."""
    from nightreel.core.extras import require_extras

    settings = command_settings(makes_home=makes_home, reads_raw=makes_home)
    require_extras(settings)
    return settings


def import_feast() -> None:
    """Import Feast as feature_repo does; call once everything is checked, because it takes seconds."""
    import feature_repo  # noqa: F401


def do_step(step: "Step[Any]", settings: "Settings", *, force: bool) -> None:
    """Run a step that has no option but `--force`, under its own name."""
    from nightreel.core.steps import Request

    report_step(lambda: step.run(settings, Request(force=force)), step.name)


def report_step(
    step: "Callable[[], StepResult[Facts]]", name: str = "working", *, changes_home: bool = True
) -> None:
    """Run a step with its progress, and print the result.

    Args:
        name: under which its duration is recorded.
        changes_home: the duration is recorded however short, and a home at a URL is sent; no other machine
            works on that meanwhile.
    """
    with ExitStack() as stack:
        _report(step, name, _lease(stack) if changes_home else None, changes_home=changes_home)


def _report(
    step: "Callable[[], StepResult[Facts]]", name: str, lease: "Lease | None", *, changes_home: bool
) -> None:
    from nightreel.core import printing

    result, seconds = with_progress(step, name)
    if JSON in asked_for:
        printing.print_json_result(result, seconds)
    else:
        printing.print_result(result, seconds, paths=PATHS in asked_for)
    sys.stdout.flush()
    if result.wrote and not result.skipped:
        note_timing(name, seconds, also_short=changes_home)
    if changes_home:
        _send(lease)


def with_progress(work: "Callable[[], Result]", name: str) -> "tuple[Result, float]":
    """Run work with a line on the terminal that estimates its duration; its result and seconds."""
    from nightreel.core.progress import progress

    started = time.monotonic()
    with progress(name, _last_seconds(name)):
        result = work()
    return result, time.monotonic() - started


def _lease(stack: ExitStack) -> "Lease | None":
    """The lease on a home at a URL, and what another machine has sent there before; None for other homes."""
    from nightreel.core.settings import load_settings

    settings = load_settings()
    if settings.home_url is None:
        return None
    from nightreel.core.lease import exclusive_home
    from nightreel.core.mirror import fetch

    lease = stack.enter_context(exclusive_home(settings))
    fetch(settings)
    return lease


def _send(lease: "Lease | None") -> None:
    from nightreel.core.settings import load_settings

    settings = load_settings()
    if settings.home_url is not None or settings.data.raw_url is not None:
        from nightreel.core.mirror import send

        send(settings, lease)


def _timings() -> dict[str, Any]:
    """Seconds and peak memory of each step's last run."""
    import json

    from nightreel.core.settings import load_settings

    try:
        known = json.loads((load_settings().paths.state / "timings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _last_seconds(step: str) -> float | None:
    """How long a step took the last time; None before the first."""
    found = _timings().get(step)
    seconds = found.get("seconds") if isinstance(found, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None


def note_timing(step: str, seconds: float, *, also_short: bool = False) -> None:
    """Record seconds and peak memory of a step's last run, for the next estimate and the report.

    Args:
        also_short: also record work that ends before its progress would be shown.
    """
    import json
    import resource

    from nightreel.core.artefacts import atomic_write
    from nightreel.core.disk import DiskFullError
    from nightreel.core.progress import AFTER_S
    from nightreel.core.settings import load_settings

    if seconds < AFTER_S and not also_short:
        return
    path = load_settings().paths.state / "timings.json"
    known = _timings()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # of the process so far
    known[step] = {"seconds": round(seconds, 1), "process_peak_mb": peak_mb}
    # The step is done, and a failure to note its seconds must not fail it; a home may be read-only.
    with suppress(DiskFullError, OSError), atomic_write(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
