"""What a model is trained for: what is liked if shown, or what is liked on the next day out of all videos.

`auto` takes what wins on past data. A table of fully observed pairs asks the first question by itself: every
user has seen nearly every one of its videos. Without one, both are asked which of the candidates of past
nights were liked, by users that the next day's rankers have not seen.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from feast import FeatureStore

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import end_of_day
from pipelines.model_registry import ModelVersion
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.next_day_training import fit_next_day
from pipelines.rankers.past_nights import night_rows
from pipelines.rankers.training_data import TrainingData

SHOWN, NEXT_DAY, BACKTEST = "shown", "next_day", "backtest"
# A table with more of its pairs than this counts as fully observed; KuaiRec's has 99.6 %.
_FULL_SHARE = 0.5


@dataclass(frozen=True)
class Chosen:
    """The objective, why, and the next day's rankers where they were trained, those of the backtest too."""

    objective: str
    why: str
    next_day: NextDayRanker | None = None
    backtest: NextDayRanker | None = None
    facts: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write the rankers into the version's folder."""
        for prefix, ranker in ((NEXT_DAY, self.next_day), (BACKTEST, self.backtest)):
            if ranker is not None:
                ranker.save(folder, prefix)

    def manifest(self) -> dict[str, Any]:
        """What the version's manifest says of it."""
        return {"objective": self.objective, "why": self.why, NEXT_DAY: self.facts}


def objective_of(model: ModelVersion) -> str:
    """What a version was trained for; versions of before there was a choice were for what is shown."""
    return str(model.manifest.get("objective", SHOWN))


def has_backtest(folder: Path) -> bool:
    """Whether a version has rankers that were trained before the days of the backtest."""
    return (folder / f"{BACKTEST}.json").is_file()


def choose_objective(data: TrainingData, store: FeatureStore, settings: Settings) -> Chosen:
    """Train the next day's rankers where they may be wanted, and say which objective the version has."""
    if settings.objective == SHOWN:
        return Chosen(SHOWN, "objective = shown")
    share = _observed_share(settings)
    # Where every play is liked, only what is not played can teach what is not liked.
    only_liked = bool(data.wanted.liked[data.slices.fit].all())
    if settings.objective == "auto" and share > _FULL_SHARE and not only_liked:
        return Chosen(SHOWN, f"{share:.1%} of the pairs of small_matrix are observed: what is liked if shown")
    end = end_of_day(data.cuts.last_day, settings.zone)
    rows = night_rows(data.plays, store, data.encoding, end, settings)
    if rows is None:
        return Chosen(SHOWN, "no candidate of a past night was liked")
    next_day, quality = fit_next_day(rows, settings)
    facts = {
        "rows": len(rows.liked),
        "liked": int(rows.liked.sum()),
        "examples": rows.kind,
        "order": {name: weight for name, weight in next_day.order.weights.items() if weight},
        "ndcg": quality,
    }
    earlier = rows.before(data.cuts.holdout_from)
    backtest = None if earlier is None else fit_next_day(earlier, settings)[0]
    return Chosen(NEXT_DAY, "what is liked on the next day, out of all videos", next_day, backtest, facts)


def _observed_share(settings: Settings) -> float:
    """The share of the users times videos of small_matrix that it holds; 0 without one."""
    path = settings.paths.table("fully_observed")
    if not path.is_file():
        return 0.0
    keys = (columns.USER_ID, columns.VIDEO_ID)
    found = (
        pl.scan_parquet(path)
        .select(pl.struct(keys).n_unique().alias("pairs"), *(pl.col(key).n_unique() for key in keys))
        .collect()
        .row(0)
    )
    return float(found[0] / max(found[1] * found[2], 1))
