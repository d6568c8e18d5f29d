"""The steps in their order: the one sequence that commands, scheduled jobs and docs/steps.md have.

Importing it imports every step and so Feast: a command that needs one step takes it from its own module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from feature_repo.open_store import FEAST_APPLY
from nightreel.core.settings import Settings
from nightreel.core.steps import Step
from nightreel.operations.drift.recording import DRIFT
from nightreel.operations.incoming import MERGE_DELIVERIES
from nightreel.operations.jobs import NIGHT, RETRAIN
from nightreel.operations.materialize import MATERIALIZE
from pipelines.evaluate import EVALUATE
from pipelines.features import FEATURES
from pipelines.ingest import INGEST
from pipelines.rankers import TRAIN
from pipelines.report import REPORT
from scoring.backtest import BACKTEST
from scoring.database.publish import SCORE
from scoring.exporting.feast import LISTS_TO_FEAST
from scoring.outcomes import OUTCOMES

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


SEQUENCE = (
    Turn(MERGE_DELIVERIES, (NIGHT,), optional=True),
    Turn(INGEST, (RUN, NIGHT)),
    Turn(OUTCOMES, (NIGHT,), optional=True),
    Turn(FEATURES, (RUN, NIGHT)),
    Turn(FEAST_APPLY, (RUN, NIGHT)),
    Turn(TRAIN, (RUN, RETRAIN)),
    Turn(BACKTEST, (RUN, JUDGEMENT)),
    Turn(EVALUATE, (RUN, JUDGEMENT)),
    Turn(REPORT, ()),
    Turn(MATERIALIZE, (NIGHT,), optional=True, beside_next=True),
    Turn(DRIFT, (NIGHT,), optional=True, beside_next=True),
    Turn(SCORE, (RUN, NIGHT)),
    Turn(
        LISTS_TO_FEAST,
        (NIGHT,),
        optional=True,
        asked=lambda settings: settings.lists.in_feast,
        asked_in_words="`[lists] in_feast`",
    ),
)


def turns_of(job: str, settings: Settings) -> Iterator[Turn]:
    """The turns of a job under these settings, in order."""
    return (turn for turn in SEQUENCE if job in turn.jobs and turn.asked(settings))
