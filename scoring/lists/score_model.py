"""Every user's list by a model version, whatever its objective: what is published."""

from collections.abc import Iterator
from datetime import datetime

from nightreel.core.settings import Settings
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.sides import Sides
from pipelines.model_rows.tonight import read_plays
from pipelines.rankers import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import NEXT_DAY, objective_of
from scoring.lists.candidates import Candidates
from scoring.lists.next_day import next_day_lists, night_of
from scoring.lists.rows import Lists
from scoring.lists.score import score_users


def lists_of_model(
    candidates: Candidates,
    sides: Sides,
    ranker: HybridRanker,
    *,
    model: ModelVersion,
    as_of: datetime,
    settings: Settings,
) -> Iterator[Lists]:
    """The lists of all users as of an instant, some users at a time.

    ranker: the version's classifier and regressor of shown pairs. Raises InputError for a model of other
    features.
    """
    if objective_of(model) != NEXT_DAY:
        return score_users(candidates, sides, ranker, settings)
    found = NextDayRanker.load(model.folder, NEXT_DAY, threads=1)
    # The night is read now, the lists are made when they are asked for.
    night = night_of(candidates, sides, read_plays(settings), as_of, settings)
    return next_day_lists(candidates, night, found, as_of, settings)
