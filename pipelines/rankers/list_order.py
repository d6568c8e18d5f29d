"""What orders the videos that the filter keeps: the regressor, and what the log shows to help it.

The rankers learn from a whole log, in whose first days ALS knows little; so they may trust it less than it
deserves by the end. On the plays that stop the models, which no tree has learnt from and which come late,
weights of the classifier and of als_score beside the regressor are searched (`tuned_blend`). They count only
where the users' NDCG gains by more than chance; else the regressor orders alone.
"""

from dataclasses import replace

import numpy as np

from nightreel import columns
from nightreel.settings import Settings
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.blend import tuned_blend
from pipelines.rankers.first_plays import FirstPlays
from pipelines.rankers.hybrid import HybridRanker, order_components
from pipelines.rankers.predicted import stage_scores
from pipelines.rankers.training_data import TrainingData

_MEASURED_AT = (10, 100)
_MOST_PLAYS = 200_000
_STANDARD_ERRORS = 3.0


def with_fitted_order(ranker: HybridRanker, data: TrainingData, settings: Settings) -> HybridRanker:
    """The same ranker with the order that suits data.slices.stop best."""
    plays = FirstPlays.of(data.plays, data.slices.stop, most=_MOST_PLAYS, seed=settings.seed)
    outcome = Outcome.of(plays.user_id, data.wanted.liked[plays.rows], None, max(_MEASURED_AT))

    def quality(scores: np.ndarray) -> np.ndarray:
        lists = RankedLists.ordered(Order.of(plays.user_id, plays.video_id, scores), outcome)
        values: np.ndarray = np.mean([ndcg_at_k(lists, k) for k in _MEASURED_AT], axis=0)
        return values

    components = order_components(*stage_scores(ranker, data.matrix, plays.rows))
    order = tuned_blend(components, columns.REGRESSOR_SCORE, quality, standard_errors=_STANDARD_ERRORS)
    return replace(ranker, order=order)
