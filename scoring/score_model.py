"""Every user's list by a model version, whatever its objective: what publishes and backtests."""

from collections.abc import Iterator
from datetime import datetime

from nightreel.settings import Settings
from pipelines.model_registry import ModelVersion
from pipelines.rankers import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import BACKTEST, NEXT_DAY, objective_of
from pipelines.rankers.sides import Sides
from scoring.candidates import Candidates
from scoring.lists import Lists
from scoring.next_day import next_day_lists
from scoring.score import score_users


def lists_of_model(
    candidates: Candidates,
    sides: Sides,
    ranker: HybridRanker,
    *,
    model: ModelVersion,
    as_of: datetime,
    settings: Settings,
    backtest: bool = False,
) -> Iterator[Lists]:
    """The lists of all users as of an instant, some users at a time.

    ranker: the version's classifier and regressor of shown pairs. backtest: by the rankers that were trained
    before the backtest's days. Raises InputError for a model of other features.
    """
    if objective_of(model) != NEXT_DAY:
        return score_users(candidates, sides, ranker, settings)
    found = NextDayRanker.load(model.folder, BACKTEST if backtest else NEXT_DAY, threads=1)
    return next_day_lists(candidates, sides, found, as_of, settings)
