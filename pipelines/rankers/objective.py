"""What a model is trained to predict: videos liked if shown, or videos liked on the next day out of all.

`auto` takes the winner of the `contest` on past data: on the validation users of a fully observed matrix or,
if there is none, on the days before the holdout. Users and days that are reported take no part.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.settings import Paths, RetrievalSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.local_days import end_of_day
from pipelines.model_registry import ModelVersion
from pipelines.rankers.contest import (
    USERS_MIN,
    Contest,
    Judged,
    arena_of_matrix,
    arenas_of_days,
    contest,
    judged_next_day,
)
from pipelines.rankers.examples import PLAYS_MIN
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.next_day_training import fit_next_day
from pipelines.rankers.past_nights import NightRows, night_rows
from pipelines.rankers.source_trial import SourceTrial, after_trial
from pipelines.rankers.training_data import TrainingData
from pipelines.retrieval.fits import without_sources
from pipelines.retrieval.past import ids_and_codes

SHOWN, NEXT_DAY, BACKTEST, AUTO = "shown", "next_day", "backtest", "auto"
# A table with more of its pairs than this counts as fully observed; KuaiRec's has 99.6 %.
_FULL_SHARE = 0.5
# With a fully observed matrix, the next day's rankers only compete and take part in the backtest: how many
# past nights train them, how many users of each, and how many rows in all.
_CONTEST_NIGHTS, _CONTEST_USERS, _CONTEST_ROWS = 2, 1_500, 300_000
_NO_NIGHT = f"no candidate was liked on a past night with at least {PLAYS_MIN:,} plays before it"
_TOO_SHORT = "what is liked on the next day; the log is too short to compare objectives before the holdout"


@dataclass(frozen=True)
class Chosen:
    """The objective with its reason, and the next day's rankers and those of the backtest, if trained."""

    objective: str
    why: str
    next_day: NextDayRanker | None = None
    backtest: NextDayRanker | None = None
    facts: dict[str, Any] | None = None
    contest: Contest | None = None
    trial: SourceTrial | None = None

    def save(self, folder: Path) -> None:
        """Write the rankers into the version's folder."""
        for prefix, ranker in ((NEXT_DAY, self.next_day), (BACKTEST, self.backtest)):
            if ranker is not None:
                ranker.save(folder, prefix)

    def manifest(self) -> dict[str, Any]:
        """Its entries in the version's manifest."""
        return {
            "objective": self.objective,
            "why": self.why,
            NEXT_DAY: self.facts,
            "contest": None if self.contest is None else self.contest.facts(),
            "source_trial": None if self.trial is None else self.trial.facts(),
        }


def objective_of(model: ModelVersion) -> str:
    """The objective of a version; `shown` for versions from before there was a choice."""
    return model.objective or SHOWN


def settings_without_effect(objectives: Collection[str], settings: RetrievalSettings) -> list[str]:
    """A line for each setting of candidates that was changed, and that no objective of tonight's lists reads.

    Args:
        objectives: of the models that make the lists.
    """
    default, remarks = RetrievalSettings(), []
    if SHOWN not in objectives and settings.candidates != default.candidates:
        remarks.append(
            "[retrieval] candidates has no effect on these lists: the model is of objective next_day, whose "
            "candidates [retrieval] sources names."
        )
    changed = [name for name in ("sources", "source_k") if getattr(settings, name) != getattr(default, name)]
    if NEXT_DAY not in objectives and changed:
        remarks.append(
            f"[retrieval] {' and '.join(changed)} {'have' if len(changed) > 1 else 'has'} no effect on these "
            "lists: the model is of objective shown, whose candidates [retrieval] candidates names."
        )
    return remarks


def has_backtest(folder: Path) -> bool:
    """Whether a version has rankers that were trained before the days of the backtest."""
    return (folder / f"{BACKTEST}.json").is_file()


@dataclass(frozen=True)
class NextDayPast:
    """The next day's rankers, trained on past nights, and their lists: what `shown` competes with.

    Attributes:
        rows: of past nights until the log's end; None if none of their candidates was liked, or if the
            fully observed matrix decides.
        backtest: the ranker trained on nights before the holdout; None if nothing was liked on them.
        competing: the ranker whose lists are compared; None if nothing is compared.
        judged: the lists of `competing`; empty if nothing is compared.
        days: in words, the days that decide here and the days that are reported later.
        usual, why: the objective if nothing is compared or lists are equally good, and the reason if nothing
            is compared.
    """

    rows: NightRows | None
    backtest: NextDayRanker | None
    trial: SourceTrial | None
    competing: NextDayRanker | None = None
    judged: Sequence[Judged] = ()
    days: tuple[str, str] = ("", "")
    usual: str = NEXT_DAY
    why: str = "objective = next_day"


def past_rows(
    data: TrainingData, store: FeatureStore, settings: RankerNeeds, *, has_matrix: bool
) -> NightRows | None:
    """The rows of past nights that teach the next day's rankers; None if the settings rule these out.

    Args:
        has_matrix: whether there is a fully observed matrix.
    """
    if settings.ranker.objective == SHOWN:
        return None
    if _asks_matrix(data, settings, has_matrix=has_matrix):
        return _rows_before_holdout(data, store, settings)
    return _rows_of_all(data, store, settings)


def past_rankers(
    rows: NightRows | None, data: TrainingData, settings: RankerNeeds, *, has_matrix: bool
) -> NextDayPast | None:
    """Train the next day's rankers on past nights; None if the settings rule them out.

    Neither this nor `judged_past` needs the ranker of objective `shown`, which can be fitted meanwhile.

    Args:
        rows: from `past_rows`.
    """
    if settings.ranker.objective == SHOWN:
        return None
    if rows is None:
        return NextDayPast(None, None, None, usual=SHOWN, why=_NO_NIGHT)
    rows, trial = after_trial(rows, data.cuts.holdout_from, settings.seed, settings.threads)
    if _asks_matrix(data, settings, has_matrix=has_matrix):
        backtest = fit_next_day(rows, settings.seed, settings.threads, on_all=False)[0]
        return NextDayPast(None, backtest, trial, backtest, usual=SHOWN)
    earlier = rows.before(data.cuts.holdout_from)
    of_backtest = None if earlier is None else fit_next_day(earlier, settings.seed, settings.threads)[0]
    past = NextDayPast(rows, of_backtest, trial)
    if settings.ranker.objective != AUTO:
        return past
    if _is_every_play_liked(data):
        return replace(past, why="every play is liked: `shown` cannot be learnt")
    earliest = rows.before(data.cuts.stop_from)
    if earliest is None:
        return replace(past, why=_TOO_SHORT)
    return replace(past, competing=fit_next_day(earliest, settings.seed, settings.threads)[0])


def _asks_matrix(data: TrainingData, settings: RankerNeeds, *, has_matrix: bool) -> bool:
    """Whether the matrix decides which objective makes the lists."""
    # If every play is liked, only videos without a play can be negatives.
    return has_matrix and settings.ranker.objective == AUTO and not _is_every_play_liked(data)


def _is_every_play_liked(data: TrainingData) -> bool:
    return bool(data.targets.liked[data.slices.fit].all())


def judged_past(
    past: NextDayPast | None, data: TrainingData, store: FeatureStore, settings: RankerNeeds
) -> NextDayPast | None:
    """Make the lists that are compared, if anything is.

    Args:
        past: from `past_rankers`.

    Returns:
        `past` with these lists, or with the reason why nothing is compared.
    """
    if past is None or past.competing is None:
        return past
    if past.rows is None:  # the matrix decides
        arena = arena_of_matrix(data, data.cuts.holdout_from, settings)
        if arena is None:
            why = "small_matrix is fully observed, and too few of its validation users liked anything"
            return replace(past, why=why)
        arenas, days = [arena], ("the validation users of small_matrix", "its other users")
    else:
        of_days = arenas_of_days(data, settings)
        arenas = [arena for _, arena in of_days]
        if sum(len(arena.user_id) for arena in arenas) < USERS_MIN:
            return replace(past, why=_TOO_SHORT)
        since = data.cuts.holdout_from.astimezone(settings.data.zone)
        days = (", ".join(day for day, _ in of_days), f"the days from {since:%Y-%m-%d} on")
    judged = judged_next_day(arenas, past.competing, data, store, settings)
    return replace(past, judged=judged, days=days)


def choose_objective(
    data: TrainingData,
    store: FeatureStore,
    ranker: HybridRanker,
    past: NextDayPast | None,
    settings: RankerNeeds,
) -> Chosen:
    """Choose the version's objective, and train the next day's rankers on all nights if it is theirs.

    Args:
        ranker: the ranker of objective `shown`, trained on these data.
        past: from `judged_past`.
    """
    if past is None:
        return Chosen(SHOWN, "objective = shown")
    objective, why, found = past.usual, past.why, None
    if past.judged:
        found = contest(past.judged, ranker, settings, days=past.days)
        why = str(found)
        if found.shown != found.next_day:
            objective = SHOWN if found.shown > found.next_day else NEXT_DAY
    if objective == SHOWN:
        return Chosen(SHOWN, why, backtest=past.backtest, contest=found, trial=past.trial)
    rows = past.rows
    if rows is None:
        assert past.backtest is not None
        left_out = past.backtest.left_out
        rows = _rows_of_all(data, store, without_sources(settings, left_out))
        assert rows is not None  # there were rows before the holdout
        rows = replace(rows, untried=None, left_out=left_out)
    return replace(_next_day(rows, past, why, settings), contest=found)


def _next_day(rows: NightRows, past: NextDayPast, why: str, settings: RankerNeeds) -> Chosen:
    next_day, quality = fit_next_day(rows, settings.seed, settings.threads)
    facts = {
        "rows": len(rows.liked),
        "liked": int(rows.liked.sum()),
        "examples": rows.kind,
        "order": {name: weight for name, weight in next_day.order.weights.items() if weight},
        "shrinkage": next_day.shrinkage.to_dict(),
        "ndcg": quality,
    }
    return Chosen(NEXT_DAY, why, next_day, past.backtest, facts, trial=past.trial)


def _rows_before_holdout(data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> NightRows | None:
    """What teaches rankers that only compete and take part in the backtest."""
    return night_rows(
        data.plays,
        store,
        data.encoding,
        data.cuts.holdout_from,
        settings,
        rows_max=_CONTEST_ROWS,
        users_max=_CONTEST_USERS,
        nights=_CONTEST_NIGHTS,
        earlier_too=False,
    )


def _rows_of_all(data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> NightRows | None:
    """The rows of the last nights of the whole log."""
    end = end_of_day(data.cuts.last_day, settings.data.zone)
    return night_rows(data.plays, store, data.encoding, end, settings)


def is_fully_observed(paths: Paths) -> bool:
    """Whether small_matrix holds most of its users times videos."""
    path = paths.table("fully_observed")
    if not path.is_file():
        return False
    table = pl.read_parquet(path, columns=[columns.USER_ID, columns.VIDEO_ID])
    (users, user), (videos, video) = (ids_and_codes(column.to_numpy()) for column in table)
    enough = _FULL_SHARE * len(users) * len(videos)
    if len(table) <= enough:
        return False
    # At most twice as many flags as rows. To find distinct rows by sorting them takes half a gigabyte.
    is_there = np.zeros((len(users), len(videos)), dtype=bool)
    is_there[user, video] = True
    return bool(np.count_nonzero(is_there) > enough)
