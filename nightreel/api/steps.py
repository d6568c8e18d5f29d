"""Every step of `run`, in order: what the command line and Python do alike."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from feature_repo.open_store import apply_definitions
from nightreel.core.artefacts import StepResult
from nightreel.core.settings import Settings
from pipelines.evaluate import evaluate
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.rankers import train
from scoring.backtest import backtest
from scoring.database.publish import score_and_publish


def every_step(
    settings: Settings, *, as_of: datetime | None = None, publish: bool = False, force: bool = False
) -> Iterator[tuple[str, Callable[[], StepResult]]]:
    """ingest to score, evaluation included: names and what to call before the next is asked for."""
    yield "ingest", partial(ingest, settings, force=force)
    yield "features", partial(build_features, settings, force=force)
    yield "feast apply", partial(apply_definitions, settings)
    yield "train", partial(train, settings, force=force)
    yield "backtest", partial(backtest, settings, force=force)
    yield "evaluate", partial(evaluate, settings, force=force)
    yield "score", partial(score_and_publish, settings, as_of=as_of, publish=publish, force=force)
