"""A user's own model as the last stage: it orders what the filter has kept, then the list is cut."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import numpy as np
import polars as pl

from nightreel.core.errors import InputError
from nightreel.core.own_models import RANKERS, load_own
from nightreel.core.settings import ListSettings, RankerSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.tonight import read_plays
from pipelines.rankers.filtering import filter_size
from pipelines.retrieval.own import plays_of
from pipelines.retrieval.past import Past
from scoring.lists.rows import Lists


class LastStage(Protocol):
    """Protocol of an own last stage (docs/own-models.md); a new instance is made for every night."""

    def fit(self, plays: pl.DataFrame) -> None:
        """Learn from the plays before the night: user_id, video_id, event_timestamp (UTC), liked, value."""

    def scores(self, rows: pl.DataFrame) -> np.ndarray:
        """One number per row; each list is ordered by it, highest first.

        Args:
            rows: user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source,
                candidate_sources of several users; a user's rows always come together.
        """


def with_last_stage(
    lists: Callable[[RankerNeeds], Iterator[Lists]], as_of: datetime, settings: RankerNeeds
) -> Iterator[Lists]:
    """The lists in the order of the setting `last_stage`; unchanged if it is not set.

    Args:
        lists: makes the lists with given settings; here top_k is raised to all that the filter keeps.
    """
    if settings.ranker.last_stage is None:
        return lists(settings)
    stage: LastStage = load_own(RANKERS, settings.ranker.last_stage)()
    stage.fit(plays_of(Past.of(read_plays(settings.paths), as_of, settings.data)))
    longer = lists(settings.changed({"lists.top_k": filter_size(settings.ranker, settings.lists)}))
    return (_reordered(block, stage, settings.ranker, settings.lists) for block in longer)


def _reordered(block: Lists, stage: LastStage, ranker: RankerSettings, lists: ListSettings) -> Lists:
    scores = np.asarray(stage.scores(pl.DataFrame(vars(block))), dtype=np.float64)
    if scores.shape != (len(block),) or not np.isfinite(scores).all():
        raise InputError(
            f"Last stage {ranker.last_stage}: it gave {scores.shape} scores for {len(block)} rows, "
            "or one that is not a number.",
            "Repair it, or unset [ranker] last_stage.",
        )
    order = np.lexsort((block.rank, -scores, block.user_id))
    ordered = replace(block.rows(order), score=scores[order])
    rank = 1 + np.arange(len(block)) - np.searchsorted(ordered.user_id, ordered.user_id)
    return replace(ordered, rank=rank.astype(np.int32)).rows(rank <= lists.top_k)
