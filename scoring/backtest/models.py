"""Classifier and regressor alone: the lists that one model would make without the other."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.instants import unix_us
from pipelines.model_rows.blocks import made_in_order
from pipelines.rankers import HybridRanker
from pipelines.rankers.next_day import CLASSIFIER, REGRESSOR, NextDayRanker
from pipelines.rankers.pair_ranker import PairRanker
from scoring.backtest.night import PastNight
from scoring.lists.own_sources import OwnSources
from scoring.lists.retrieval import Retrieval
from scoring.lists.score import score_with

MODELS = (CLASSIFIER, REGRESSOR)
_BLOCK_USERS = 64


def lists_of_models(
    night: PastNight, ranker: NextDayRanker, asked: Collection[str]
) -> Iterator[Mapping[str, pl.DataFrame]]:
    """Each user's candidates of objective `next_day`, all of them in the order of each model alone.

    Yields:
        Blocks of users: model -> user_id, rank, video_id.
    """
    made, candidates = night.night.without(ranker.left_out), night.candidates
    ranker.require_features(made.names)
    received = night.joined.received()

    def block(start: int) -> Mapping[str, pl.DataFrame]:
        users = np.arange(start, min(start + _BLOCK_USERS, len(candidates.user_id)))
        user_id = candidates.user_id[users]
        instants = np.full(len(users), unix_us(night.day.as_of))
        open_to = candidates.open_to(users)
        rows = made.rows(user_id, instants, users, open_to, at_least=night.settings.lists.top_k)
        video = made.joined_video[rows.video]
        found = {}
        # What decides where the model ties, the last first: as for the published lists.
        classified = ranker.raw(CLASSIFIER, rows.features)
        ties = (video, -received[video], -classified)
        for model in MODELS:
            if model in asked:
                raw = classified if model == CLASSIFIER else ranker.raw(model, rows.features)
                order = np.lexsort((*ties, -raw, rows.user))
                found[model] = _first(user_id[rows.user], candidates.video_id[video[order]], night.depth)
        return found

    return made_in_order(block, range(0, len(candidates.user_id), _BLOCK_USERS), night.settings.threads)


def lists_of_shown_models(night: PastNight, asked: Collection[str]) -> Iterator[Mapping[str, pl.DataFrame]]:
    """The same for objective `shown`: a hybrid whose two stages are one model is that model alone."""
    depth, both = night.depth, night.pair_ranker
    settings = night.settings.changed({"lists.top_k": depth, "ranker.filter_k": depth})
    own = OwnSources.of(night.candidates, night.joined, night.day.as_of, settings)
    retrieval = Retrieval.of(night.candidates, night.joined, settings, own)
    ranker = both.ranker
    for model, booster, forest in (
        (CLASSIFIER, ranker.classifier, both.classifier),
        (REGRESSOR, ranker.regressor, both.regressor),
    ):
        if model in asked:
            one = HybridRanker(ranker.encoding, booster, booster, ranker.threads)
            alone = PairRanker(one, both.joined, forest, forest)
            for lists in score_with(night.candidates, alone, retrieval, settings):
                yield {model: _first(lists.user_id, lists.video_id, depth)}


def _first(user_id: np.ndarray, video_id: np.ndarray, depth: int) -> pl.DataFrame:
    """The first of each user's videos, which are user after user, best first."""
    _, start, count = np.unique(user_id, return_index=True, return_counts=True)
    rank = np.arange(len(user_id)) - np.repeat(start, count) + 1
    kept = rank <= depth
    return pl.DataFrame(
        {
            columns.USER_ID: user_id[kept],
            columns.RANK: rank[kept].astype(np.int32),
            columns.VIDEO_ID: video_id[kept],
        }
    )
