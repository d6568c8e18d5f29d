"""The steps in their order: the one sequence that commands, scheduled jobs and docs/steps.md have.

Importing it imports every step and so Feast: a command that needs one step takes it from its own module.
"""

from collections.abc import Iterator

from feature_repo.open_store import FEAST_APPLY
from nightreel.core.settings import Settings
from nightreel.operations.drift.recording import DRIFT
from nightreel.operations.jobs import NIGHT, RETRAIN
from nightreel.operations.materialize import MATERIALIZE
from nightreel.operations.turns import FIRST_TURNS, JUDGEMENT, RUN, Turn
from pipelines.evaluate import EVALUATE
from pipelines.features import FEATURES
from pipelines.rankers import TRAIN
from pipelines.report import REPORT
from scoring.backtest import BACKTEST
from scoring.database.publish import SCORE
from scoring.exporting.feast import LISTS_TO_FEAST
from scoring.outcomes import OUTCOMES

__all__ = ["JUDGEMENT", "RUN", "SEQUENCE", "Turn", "turns_of"]

SEQUENCE = (
    *FIRST_TURNS,
    Turn(OUTCOMES, (NIGHT,), optional=True, beside_next=True),
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
    return (turn for turn in SEQUENCE if turn.is_of(job, settings))
