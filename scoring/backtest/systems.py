"""The systems that list past nights, by name: the hybrid, each model alone, popularity, each source alone."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings, RetrievalSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.backtest_files import HYBRID, HYBRID_OF, SOURCE_ALONE
from pipelines.labels import LengthBuckets
from pipelines.model_registry import ModelVersion
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import BACKTEST, NEXT_DAY, SHOWN, has_backtest, objective_of
from pipelines.retrieval.fits import source_names
from scoring.backtest.models import MODELS, lists_of_models, lists_of_shown_models
from scoring.backtest.night import PastNight
from scoring.backtest.sources import lists_of_sources
from scoring.lists.candidates import Candidates
from scoring.lists.next_day import next_day_lists
from scoring.lists.own_sources import OwnSources
from scoring.lists.popularity import POPULARITIES, LikedPlays, one_list_for_all
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import Lists
from scoring.lists.score import score_with
from scoring.lists.score_model import with_last_words

_RANK = "rank"
# Lists of blocks of users, by the name of the system: user_id, rank, video_id.
Blocks = Iterator[Mapping[str, pl.DataFrame]]


@dataclass(frozen=True)
class Systems:
    """Systems whose lists are made together.

    Attributes:
        make: makes the lists of the systems with the given names.
        sampled: whether only a sample of users gets lists, because the systems serve only for comparison and
            cost as much as the published lists.
        uses_sources: whether they need `PastNight.night`.
        uses_threads: whether `make` keeps several threads busy.
    """

    names: tuple[str, ...]
    make: Callable[[PastNight, Collection[str]], Blocks]
    sampled: bool = False
    uses_sources: bool = False
    uses_threads: bool = True


def all_systems(
    plays: pl.DataFrame,
    model: ModelVersion,
    data: DataSettings,
    retrieval: RetrievalSettings,
) -> tuple[list[Systems], list[str]]:
    """Every system in the order of the tables, the published lists first; and remarks on missing systems."""
    remarks = []
    hybrids: dict[str, Callable[[PastNight], Iterator[pl.DataFrame]]] = {SHOWN: _shown}
    if has_backtest(model.folder):
        hybrids[NEXT_DAY] = _next_day(NextDayRanker.load(model.folder, BACKTEST))
    else:
        remarks.append(f"no lists of objective {NEXT_DAY}: the model has no such rankers ({model.why}).")
    published = objective_of(model)
    found = []
    for objective in sorted(hybrids, key=lambda one: one != published):
        name = HYBRID_OF.format(objective)
        names = (HYBRID, name) if objective == published else (name,)
        made = _same(names, hybrids[objective], sampled=objective != published)
        found.append(replace(made, uses_sources=objective == NEXT_DAY))
    found.append(_models(model, published))
    liked = LikedPlays.count(plays, data, LengthBuckets.load(model.folder))
    for name, value in POPULARITIES.items():
        found.append(replace(_same((name,), _popularity(value, liked)), uses_threads=False))
    alone = {SOURCE_ALONE.format(name): name for name in source_names(retrieval)}

    def sources(night: PastNight, asked: Collection[str]) -> Blocks:
        of_names = {name: source for name, source in alone.items() if name in asked}
        return lists_of_sources(night, of_names)

    return [*found, Systems(tuple(alone), sources, sampled=True, uses_sources=True)], remarks


def _models(model: ModelVersion, published: str) -> Systems:
    """Classifier and regressor alone, those of the published lists."""
    if published != NEXT_DAY or not has_backtest(model.folder):
        return Systems(MODELS, lists_of_shown_models, sampled=True)
    of_next_day = NextDayRanker.load(model.folder, BACKTEST)
    return Systems(
        MODELS,
        lambda night, asked: lists_of_models(night, of_next_day, asked),
        sampled=True,
        uses_sources=True,
    )


def _same(
    names: Sequence[str], make: Callable[[PastNight], Iterator[pl.DataFrame]], *, sampled: bool = False
) -> Systems:
    """A system under one name, or under several."""

    def blocks(night: PastNight, asked: Collection[str]) -> Blocks:
        return ({name: block for name in names if name in asked} for block in make(night))

    return Systems(tuple(names), blocks, sampled)


def _popularity(
    value: Callable[[LikedPlays, datetime], np.ndarray], liked: LikedPlays
) -> Callable[[PastNight], Iterator[pl.DataFrame]]:
    return lambda night: one_list_for_all(
        night.candidates, liked.video_id, value(liked, night.day.as_of), night.depth
    )


def _shown(night: PastNight) -> Iterator[pl.DataFrame]:
    """The lists of `score`; beyond top_k they continue with what longer lists would have had."""
    settings, depth = night.settings, night.depth
    own = OwnSources.of(night.candidates, night.joined, night.day.as_of, settings)

    def lists(among: Candidates, changed: RankerNeeds) -> Iterator[Lists]:
        retrieval = Retrieval.of(among, night.joined, changed, own)
        return score_with(among, night.pair_ranker, retrieval, changed)

    candidates = night.candidates
    longer = lists(candidates, settings.changed({"lists.top_k": max(settings.lists.top_k, depth)}))
    if night.is_moved:
        return _continued_blocks(
            with_last_words(lists, candidates, night.joined, night.day.as_of, settings), longer, depth
        )
    if settings.lists.top_k >= depth or (
        filter_size(settings.ranker, settings.lists) >= depth and not night.candidates.caps
    ):
        # A longer list begins with the shorter one.
        return (_rows(block, depth) for block in longer)
    return _continued_blocks(lists(candidates, settings), longer, depth)


def _next_day(ranker: NextDayRanker) -> Callable[[PastNight], Iterator[pl.DataFrame]]:
    """The lists of `score`, which continue beyond top_k."""

    def make(night: PastNight) -> Iterator[pl.DataFrame]:
        length = max(night.settings.lists.top_k, night.depth)
        as_of, settings = night.day.as_of, night.settings
        made = night.night.without(ranker.left_out)

        def lists(among: Candidates, changed: RankerNeeds) -> Iterator[Lists]:
            return next_day_lists(among, made, ranker, as_of, changed)

        blocks = next_day_lists(night.candidates, made, ranker, as_of, settings, length=length)
        if night.is_moved:
            moved = with_last_words(lists, night.candidates, night.joined, as_of, settings)
            return _continued_blocks(moved, blocks, night.depth)
        return (_rows(block, night.depth) for block in blocks)

    return make


def _rows(lists: Lists, depth: int) -> pl.DataFrame:
    rows = {columns.USER_ID: lists.user_id, _RANK: lists.rank, columns.VIDEO_ID: lists.video_id}
    return pl.DataFrame(rows).filter(pl.col(_RANK) <= depth)


def _continued_blocks(lists: Iterator[Lists], longer: Iterator[Lists], depth: int) -> Iterator[pl.DataFrame]:
    pairs = zip(lists, longer, strict=True)
    return (_continued(_rows(short, depth), _rows(long, depth)) for short, long in pairs)


def _continued(lists: pl.DataFrame, longer: pl.DataFrame) -> pl.DataFrame:
    """The lists, each continued with the other videos of the same user's longer list."""
    whole = pl.concat([lists.with_columns(part=0), longer.with_columns(part=1)])
    ordered = whole.sort(columns.USER_ID, "part", _RANK).unique(
        [columns.USER_ID, columns.VIDEO_ID], keep="first", maintain_order=True
    )
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(columns.USER_ID)
    depth = longer.group_by(columns.USER_ID).agg(pl.col(_RANK).max().alias("depth"))
    return (
        ordered.with_columns(rank.alias(_RANK))
        .join(depth, on=columns.USER_ID, how="left", maintain_order="left")
        .filter(pl.col(_RANK) <= pl.col("depth"))
        .select(lists.columns)
    )
