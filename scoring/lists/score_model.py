"""The lists to publish: every user's, by a model version of any objective."""

from collections.abc import Callable, Iterator
from datetime import datetime

from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.night import Night
from pipelines.model_rows.tonight import read_plays
from pipelines.rankers import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import NEXT_DAY, objective_of
from pipelines.retrieval.fits import without_sources
from scoring.lists.candidates import Candidates
from scoring.lists.last_stage import with_last_stage
from scoring.lists.next_day import NextDayScoring, next_day_lists, night_of
from scoring.lists.own_sources import OwnSources
from scoring.lists.parts import Work, work_of_next_day, work_of_shown
from scoring.lists.rows import Lists
from scoring.lists.rules.stage import ListRules, before_rules, with_rules
from scoring.lists.score import score_users


def lists_of_model(
    candidates: Candidates,
    joined: JoinedFeatures,
    ranker: HybridRanker,
    *,
    model: ModelVersion,
    as_of: datetime,
    settings: RankerNeeds,
) -> Iterator[Lists]:
    """The lists of all users as of an instant, in blocks of users.

    Args:
        ranker: the version's classifier and regressor of shown pairs.

    Raises:
        InputError: the model uses other features.
    """
    if objective_of(model) != NEXT_DAY:
        own = OwnSources.of(candidates, joined, as_of, settings)

        def shown(among: Candidates, changed: RankerNeeds) -> Iterator[Lists]:
            return score_users(among, joined, ranker, changed, own)

        return with_last_words(shown, candidates, joined, as_of, settings)
    found, night = _next_day(candidates, joined, model, as_of, settings)

    def next_day(among: Candidates, changed: RankerNeeds) -> Iterator[Lists]:
        return next_day_lists(among, night, found, as_of, changed)

    return with_last_words(next_day, candidates, joined, as_of, settings)


def with_last_words(
    lists: Callable[[Candidates, RankerNeeds], Iterator[Lists]],
    candidates: Candidates,
    joined: JoinedFeatures,
    as_of: datetime,
    settings: RankerNeeds,
) -> Iterator[Lists]:
    """The lists in the order of the setting `last_stage`, if it is set, and then after the owner's rules."""

    def ordered(among: Candidates, changed: RankerNeeds) -> Iterator[Lists]:
        return with_last_stage(lambda longer: lists(among, longer), as_of, changed)

    return with_rules(
        ordered, ListRules.of(candidates, joined, as_of, settings.lists, settings.seed), candidates, settings
    )


def work_of_model(
    candidates: Candidates,
    joined: JoinedFeatures,
    *,
    model: ModelVersion,
    as_of: datetime,
    settings: RankerNeeds,
) -> Work:
    """The same lists, to be made in parts by several processes."""
    rules = ListRules.of(candidates, joined, as_of, settings.lists, settings.seed)
    if rules is not None:
        candidates, settings = before_rules(candidates, settings)
    if objective_of(model) != NEXT_DAY:
        return work_of_shown(candidates, joined, model.folder, settings, rules)
    found, night = _next_day(candidates, joined, model, as_of, settings)
    return work_of_next_day(NextDayScoring.of(candidates, night, found, as_of, settings), rules)


def _next_day(
    candidates: Candidates,
    joined: JoinedFeatures,
    model: ModelVersion,
    as_of: datetime,
    settings: RankerNeeds,
) -> tuple[NextDayRanker, Night]:
    """The ranker, and the night, which is read now: lists may be made when its tables are others."""
    found = NextDayRanker.load(model.folder, NEXT_DAY)
    used = without_sources(settings, found.left_out)
    return found, night_of(candidates, joined, read_plays(settings.paths), as_of, used)
