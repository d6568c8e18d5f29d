"""A step's turn in a sequence, and the first turns, whose steps are quick to import.

A night begins with these while the other steps, and so Feast and LightGBM, are being imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nightreel.core.settings import Settings
from nightreel.core.steps import Step
from nightreel.operations.incoming import MERGE_DELIVERIES
from nightreel.operations.jobs import NIGHT
from pipelines.ingest import INGEST

# Beside the two scheduled jobs: `nightreel run`, and `nightreel evaluate`.
RUN, JUDGEMENT = "run", "evaluate"


def _always(_settings: Settings) -> bool:
    return True


@dataclass(frozen=True)
class Turn:
    """A step's turn in a sequence.

    Attributes:
        jobs: which of RUN, JUDGEMENT, NIGHT and RETRAIN include it; none if it runs only on request.
        optional: a scheduled job continues with a remark if it fails.
        beside_next: a scheduled job may run it beside the next step.
        asked: whether settings ask for it.
        asked_in_words: by which setting, for the documentation.
    """

    step: Step[Any]
    jobs: tuple[str, ...]
    optional: bool = False
    beside_next: bool = False
    asked: Callable[[Settings], bool] = _always
    asked_in_words: str = ""

    def is_of(self, job: str, settings: Settings) -> bool:
        """Whether the job includes it under these settings."""
        return job in self.jobs and self.asked(settings)


FIRST_TURNS = (Turn(MERGE_DELIVERIES, (NIGHT,), optional=True), Turn(INGEST, (RUN, NIGHT)))
