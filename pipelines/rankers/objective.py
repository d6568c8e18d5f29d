"""What a model is trained to predict: videos liked if shown, or videos liked on the next day out of all.

`auto` takes the winner of the `contest` on past data: on the validation users of a fully observed matrix or,
if there is none, on the days before the holdout. Users and days that are reported take no part.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.settings import Paths, RetrievalSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.local_days import end_of_day
from pipelines.model_registry import ModelVersion
from pipelines.rankers.contest import USERS_MIN, Contest, arena_of_matrix, arenas_of_days, contest
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.next_day_training import fit_next_day
from pipelines.rankers.past_nights import NightRows, night_rows
from pipelines.rankers.source_trial import SourceTrial, after_trial
from pipelines.rankers.training_data import TrainingData
from pipelines.retrieval.fits import without_sources

SHOWN, NEXT_DAY, BACKTEST = "shown", "next_day", "backtest"
# A table with more of its pairs than this counts as fully observed; KuaiRec's has 99.6 %.
_FULL_SHARE = 0.5
# With a fully observed matrix, the next day's rankers only compete and make lists in the backtest. These are
# the most users of each past night, and the most rows, that train them.
_CONTEST_USERS, _CONTEST_ROWS = 1_000, 300_000


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
    return str(model.manifest.get("objective", SHOWN))


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


def choose_objective(
    data: TrainingData, store: FeatureStore, ranker: HybridRanker, settings: RankerNeeds
) -> Chosen:
    """Train the next day's rankers where the settings allow them, and choose the version's objective.

    Args:
        ranker: the ranker of objective `shown`, trained on these data.
    """
    if settings.ranker.objective == SHOWN:
        return Chosen(SHOWN, "objective = shown")
    is_auto = settings.ranker.objective == "auto"
    # If every play is liked, only videos without a play can be negatives.
    only_liked = bool(data.targets.liked[data.slices.fit].all())
    if is_auto and is_fully_observed(settings.paths) and not only_liked:
        return _chosen_on_matrix(data, store, ranker, settings)
    end = end_of_day(data.cuts.last_day, settings.data.zone)
    rows = night_rows(data.plays, store, data.encoding, end, settings)
    if rows is None:
        return Chosen(SHOWN, "no candidate of a past night was liked")
    rows, trial = after_trial(rows, data.cuts.holdout_from, settings.seed, settings.threads)
    return replace(_chosen_on_days(rows, data, store, ranker, settings, is_auto=is_auto), trial=trial)


def _chosen_on_days(
    rows: NightRows,
    data: TrainingData,
    store: FeatureStore,
    ranker: HybridRanker,
    settings: RankerNeeds,
    *,
    is_auto: bool,
) -> Chosen:
    """Choose on the days before the holdout, unless the settings have chosen."""
    earlier = rows.before(data.cuts.holdout_from)
    backtest = None if earlier is None else fit_next_day(earlier, settings.seed, settings.threads)[0]
    if not is_auto:
        return _next_day(rows, backtest, "objective = next_day", settings.seed, settings.threads)
    found, why = _contest_of_days(data, store, ranker, rows, settings)
    if found is not None and found.shown > found.next_day:
        return Chosen(SHOWN, why, backtest=backtest, contest=found)
    return _next_day(rows, backtest, why, settings.seed, settings.threads, contest=found)


def _next_day(
    rows: NightRows,
    backtest: NextDayRanker | None,
    why: str,
    seed: int,
    threads: int,
    *,
    contest: Contest | None = None,
) -> Chosen:
    next_day, quality = fit_next_day(rows, seed, threads)
    facts = {
        "rows": len(rows.liked),
        "liked": int(rows.liked.sum()),
        "examples": rows.kind,
        "order": {name: weight for name, weight in next_day.order.weights.items() if weight},
        "shrinkage": next_day.shrinkage.to_dict(),
        "ndcg": quality,
    }
    return Chosen(NEXT_DAY, why, next_day, backtest, facts, contest)


def _chosen_on_matrix(
    data: TrainingData, store: FeatureStore, ranker: HybridRanker, settings: RankerNeeds
) -> Chosen:
    """Choose on the matrix's validation users; the next day's rankers are those of the backtest."""
    earlier = night_rows(
        data.plays,
        store,
        data.encoding,
        data.cuts.holdout_from,
        settings,
        rows_max=_CONTEST_ROWS,
        users_max=_CONTEST_USERS,
        earlier_too=False,
    )
    if earlier is None:
        return Chosen(SHOWN, "no candidate of a past night was liked")
    earlier, trial = after_trial(earlier, data.cuts.holdout_from, settings.seed, settings.threads)
    backtest = fit_next_day(earlier, settings.seed, settings.threads, on_all=False)[0]
    used = without_sources(settings, backtest.left_out)
    del earlier  # free some hundred megabytes that the contest does not need
    arena = arena_of_matrix(data, settings)
    if arena is None:
        why = "small_matrix is fully observed, and too few of its validation users liked anything"
        return Chosen(SHOWN, why, backtest=backtest, trial=trial)
    days = ("the validation users of small_matrix", "its other users")
    found = contest([arena], (ranker, backtest), data, store, settings, days=days)
    if found.next_day <= found.shown:
        return Chosen(SHOWN, str(found), backtest=backtest, contest=found, trial=trial)
    end = end_of_day(data.cuts.last_day, settings.data.zone)
    rows = night_rows(data.plays, store, data.encoding, end, used)
    assert rows is not None  # there were rows before the holdout
    rows = replace(rows, untried=None, left_out=backtest.left_out)
    chosen = _next_day(rows, backtest, str(found), settings.seed, settings.threads, contest=found)
    return replace(chosen, trial=trial)


def _contest_of_days(
    data: TrainingData, store: FeatureStore, ranker: HybridRanker, rows: NightRows, settings: RankerNeeds
) -> tuple[Contest | None, str]:
    """The contest on the early-stopping days before the holdout, or why nothing could be compared."""
    if data.targets.liked[data.slices.fit].all():
        return None, "every play is liked: `shown` cannot be learnt"
    earlier = rows.before(data.cuts.stop_from)
    arenas = arenas_of_days(data, settings)
    users = sum(len(arena.user_id) for _, arena in arenas)
    if earlier is None or users < USERS_MIN:
        return (
            None,
            "what is liked on the next day; the log is too short to compare objectives before the holdout",
        )
    since = data.cuts.holdout_from.astimezone(settings.data.zone)
    days = (", ".join(day for day, _ in arenas), f"the days from {since:%Y-%m-%d} on")
    rankers = (ranker, fit_next_day(earlier, settings.seed, settings.threads)[0])
    found = contest([arena for _, arena in arenas], rankers, data, store, settings, days=days)
    return found, str(found)


def is_fully_observed(paths: Paths) -> bool:
    """Whether small_matrix holds most of its users times videos."""
    path = paths.table("fully_observed")
    if not path.is_file():
        return False
    keys = (columns.USER_ID, columns.VIDEO_ID)
    found = (
        pl.scan_parquet(path)
        .select(pl.struct(keys).n_unique().alias("pairs"), *(pl.col(key).n_unique() for key in keys))
        .collect()
        .row(0)
    )
    return bool(found[0] / max(found[1] * found[2], 1) > _FULL_SHARE)
