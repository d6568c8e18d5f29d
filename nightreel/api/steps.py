"""The steps of `run` or `evaluate`, in order, for both the command line and Python."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from nightreel.core.settings import Settings
from nightreel.core.steps import Request, StepResult
from nightreel.operations.sequence import RUN, turns_of


def every_step(
    settings: Settings,
    job: str = RUN,
    *,
    as_of: datetime | None = None,
    publish: bool = False,
    force: bool = False,
) -> Iterator[tuple[str, Callable[[], StepResult[Any]]]]:
    """Each step of the job with the function that runs it; call it before asking for the next."""
    request = Request(force=force, as_of=as_of, publish=publish)
    for turn in turns_of(job, settings):
        yield turn.step.name, partial(turn.step.run, settings, request)
