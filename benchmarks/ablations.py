"""What does each part of the rankers give? Each is left out in turn, and the hybrid is measured again.

Makes a synthetic KuaiRec (a quarter of it by default), trains the rankers as set, then again without each
group of features, with each label, and with an `als_score` that has seen the plays that it scores; either
stage alone and the sum of both are ranked too. All are measured on the kuairec protocol's reported users,
with intervals of each one's difference to the whole hybrid, by a bootstrap over users. Prints a markdown
table and writes benchmarks/results/ablations.json.

    python benchmarks/ablations.py
    python benchmarks/ablations.py --scale 1 --home SOME_FOLDER
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

from benchmarks.full_kuairec import RESULTS, ROOT, make_raw, run_step
from benchmarks.measured_process import machine
from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings import Settings, load_settings
from pipelines.evaluate.protocols import Pairs, kuairec_pairs
from pipelines.labels import DURATION, LABELS, RATIO, Label, targets
from pipelines.local_days import INSTANT
from pipelines.metrics import (
    Bootstrap,
    Order,
    Outcome,
    RankedLists,
    ascending_ranks,
    auc_of_users,
    ndcg_at_k,
    precision_at_k,
)
from pipelines.rankers.binning import Binning, Matrix, Part
from pipelines.rankers.blend import Blend, log_odds, logarithm
from pipelines.rankers.boosting import (
    common_parameters,
    fitted_rows,
    grow_rankers,
    number_of_parts,
    validation_rows,
)
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.list_order import PastLists, with_fitted_order
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.predicted import Predicted
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import FeatureFrame

WHOLE = "whole hybrid"
METRICS = ("ndcg@10", "ndcg@100", "precision@10", "auc")
GROUPS = {
    "user profile": columns.USER_PROFILE,
    "user activity": columns.USER_ACTIVITY,
    "video profile": columns.VIDEO_PROFILE,
    "text": columns.VIDEO_TEXT,
    "daily popularity": columns.VIDEO_DAILY_POPULARITY,
    "engagement": columns.VIDEO_ENGAGEMENT,
}
ALONE = {
    "popularity by views": columns.VIDEO_AGG_VIEWS,
    "popularity by engagement": columns.VIDEO_AGG_LIKED_SHARE,
    "ALS alone": columns.ALS_SCORE,
}


class WithLastFactors:
    """The rows of a matrix, but every `als_score` from the last fit, which has seen all plays: a leak."""

    def __init__(self, matrix: FeatureMatrix, at_the_end: FeatureMatrix) -> None:
        self._matrix, self._at_the_end = matrix, at_the_end
        self._als_index = matrix.names.index(columns.ALS_SCORE)

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        block = self._matrix[rows]
        block[:, self._als_index] = self._at_the_end[rows][:, self._als_index]
        return block


@dataclass(frozen=True)
class Reported:
    """The pairs of the users that no setting was chosen on, and what came of them by each label."""

    user_id: np.ndarray
    video_id: np.ndarray
    matrix: FeatureMatrix
    catalogue: int
    outcomes: Mapping[Label, Outcome]
    bootstrap: Bootstrap

    @classmethod
    def of(cls, pairs: Pairs, data: TrainingData, settings: Settings) -> "Reported":
        """Of the kuairec protocol, with features as they were known at its instant."""
        rows = pairs.rows.filter(~pl.Series(pairs.is_tuning(settings.evaluation, settings.seed)))
        user, video, ratio, length = (
            rows[name].to_numpy()
            for name in (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.VIDEO_DURATION)
        )
        asked = rows.select(columns.USER_ID, columns.VIDEO_ID).with_columns(
            pl.lit(pairs.as_of, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
        )
        matrix = FeatureMatrix(FeatureFrame.join(open_store(), asked, settings.data.zone), data.encoding)
        outcomes = {
            label: Outcome.of(
                user, targets(label, data.buckets, ratio, length, settings.data).liked, None, 100
            )
            for label in LABELS
        }
        bootstrap = Bootstrap.of(len(np.unique(user)), seed=settings.seed)
        return cls(user, video, matrix, pairs.catalogue, outcomes, bootstrap)

    def of_users(self, scores: np.ndarray, label: Label) -> np.ndarray:
        """Each metric of each user: float64 [users, metrics], NaN where a user has none."""
        order = Order.of(self.user_id, self.video_id, scores)
        lists = RankedLists.ordered(order, self.outcomes[label])
        found = np.full((len(order.users), len(METRICS)), np.nan)
        index = np.searchsorted(order.users, lists.users)
        found[index, 0] = ndcg_at_k(lists, 10)
        found[index, 1] = ndcg_at_k(lists, 100)
        found[index, 2] = precision_at_k(lists, 10)
        found[:, 3] = auc_of_users(order, ascending_ranks(order, scores), self.outcomes[label].relevant)
        return found


class Ablations:
    """Trains with one thing changed, and scores the reported pairs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = TrainingData.join(open_store(), settings)
        self.reported = Reported.of(kuairec_pairs(settings), self.data, settings)
        self._fitted = fitted_rows(self.data.slices)
        self._parameters = common_parameters(settings, len(self._fitted))
        self._parts, self._stop = self._binned(self.data.matrix)
        self._lists = PastLists.of(self.data, open_store(), settings)

    def systems(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each system's name, and its scores of the reported pairs; the whole hybrid first."""
        whole = self._fit()
        scores = self._scores(whole)
        yield WHOLE, scores[0]
        yield "classifier only", scores[1]
        yield "regressor only", scores[2]
        both = {"classifier": log_odds(scores[1]), "regressor": logarithm(scores[2])}
        yield "both, summed", replace(Blend.scales(both), weights=dict.fromkeys(both, 1.0)).scores(both)
        for name, view in GROUPS.items():
            yield f"without {name}", self._without(self.data.matrix.views[view])
        yield "without time", self._without((columns.HOUR_OF_DAY, columns.DAY_OF_WEEK))
        yield "without als_score", self._without((columns.ALS_SCORE,))
        yield "als_score that saw the plays", self._scores(self._fit_leaky())[0]
        yield f"label {DURATION}", self._scores(self._fit(label=DURATION))[0]
        for name, feature in ALONE.items():
            index = self.reported.matrix.names.index(feature)
            yield name, self.reported.matrix[slice(None)][:, index].astype(np.float64)

    def _binned(self, matrix: Matrix) -> tuple[list[Part], Part]:
        data = self.data
        binning = Binning(matrix, self._fitted, data.video_id, data.encoding, self._parameters)
        number = number_of_parts(self.settings.ranker, len(self._fitted))
        parts = list(binning.parts(self._fitted, number))
        return parts, binning.part(validation_rows(data.slices))

    def _fit(self, off: tuple[str, ...] = (), label: Label = RATIO) -> HybridRanker:
        """A feature is off by a gain of zero, so that no tree splits on it and the bins can be shared."""
        data = self.data
        ratio, length = (
            data.plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION)
        )
        ranker = grow_rankers(
            self._parts,
            parts=len(self._parts),
            stop=self._stop,
            fit=data.slices.fit,
            targets=targets(label, data.buckets, ratio, length, self.settings.data),
            parameters=self._parameters
            | {"feature_contri": [0.0 if name in off else 1.0 for name in data.encoding.names]},
            encoding=data.encoding,
            settings=self.settings.ranker,
            threads=self.settings.threads,
        )
        used = {row["feature"] for row in ranker.importances() if row["classifier_splits"]}
        if used & set(off):
            raise SystemExit(f"{used & set(off)} were to be off, and are not.")
        return with_fitted_order(ranker, self._lists)

    def _fit_leaky(self) -> HybridRanker:
        data = self.data
        end = pl.read_parquet(self.settings.paths.feature_source(columns.USER_FACTORS))[
            columns.EVENT_TIMESTAMP
        ].max()
        late = data.plays.with_columns(pl.lit(end, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP))
        at_the_end = FeatureMatrix(
            FeatureFrame.join(open_store(), late, self.settings.data.zone), data.encoding
        )
        kept = self._parts, self._stop
        self._parts, self._stop = self._binned(WithLastFactors(data.matrix, at_the_end))
        try:
            return self._fit()
        finally:
            self._parts, self._stop = kept

    def _without(self, off: tuple[str, ...]) -> np.ndarray:
        return self._scores(self._fit(off))[0]

    def _scores(self, ranker: HybridRanker) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The hybrid's, the classifier's and the regressor's scores."""
        reported = self.reported
        predicted = Predicted.of(ranker, reported.matrix, np.arange(len(reported.matrix)))
        hybrid = predicted.hybrid(
            reported.user_id,
            reported.video_id,
            filter_k=self.settings.ranker.filter_k,
            catalogue=reported.catalogue,
        )
        return hybrid, predicted.classifier, predicted.regressor


def measure(ablations: Ablations) -> list[dict[str, Any]]:
    """A record a system, label and metric: its mean, and its difference to the whole hybrid with interval."""
    records = []
    whole: dict[Label, np.ndarray] = {}
    for system, scores in ablations.systems():
        for label in LABELS:
            values = ablations.reported.of_users(scores, label)
            whole.setdefault(label, values)
            low, high = ablations.reported.bootstrap.intervals(values - whole[label])
            difference = np.nanmean(values - whole[label], axis=0)
            for index, metric in enumerate(METRICS):
                records.append(
                    {
                        "system": system,
                        "label": label,
                        "metric": metric,
                        "value": round(float(np.nanmean(values[:, index])), 5),
                        "minus_whole": round(float(difference[index]), 5),
                        "low": round(float(low[index]), 5),
                        "high": round(float(high[index]), 5),
                    }
                )
        print(f"{system}: {records[-len(METRICS) * len(LABELS)]['value']:.4f}", file=sys.stderr, flush=True)
    return records


def as_markdown(records: list[dict[str, Any]]) -> str:
    """A row a system and label, a column a metric: the difference to the whole hybrid and its interval."""
    lines = ["| system | liked by | " + " | ".join(METRICS) + " |", "|---|---|" + "---|" * len(METRICS)]
    cells: dict[tuple[str, str], list[str]] = {}
    for record in records:
        own = cells.setdefault((record["system"], record["label"]), [])
        if record["system"] == WHOLE:
            own.append(f"{record['value']:.4f}")
        else:
            own.append(f"{record['minus_whole']:+.4f} [{record['low']:+.4f}, {record['high']:+.4f}]")
    lines += [f"| {system} | {label} | " + " | ".join(own) + " |" for (system, label), own in cells.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write benchmarks/results/ablations.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=0.25, help="share of KuaiRec's users and rows (0.25)")
    parser.add_argument("--home", type=Path, help="folder to work in (benchmarks/work/<scale>)")
    chosen = parser.parse_args()
    home: Path = (chosen.home or ROOT / "benchmarks" / "work" / f"{chosen.scale:g}").resolve()
    home.mkdir(parents=True, exist_ok=True)
    make_raw(home, chosen.scale)
    for step in ("ingest", "features", "feast apply"):
        row = run_step("ablations", step, home)
        if row.error:
            raise SystemExit(f"{step}: {row.error}")
    os.environ["NIGHTREEL_HOME"] = str(home)
    settings = load_settings()
    ablations = Ablations(settings)
    records = measure(ablations)
    result = {
        "scale": chosen.scale,
        "plays": len(ablations.data.plays),
        "reported_pairs": len(ablations.reported.matrix),
        "reported_users": len(np.unique(ablations.reported.user_id)),
        "settings": settings.chosen(
            {
                "ranker.lightgbm.num_iterations",
                "ranker.lightgbm.learning_rate",
                "ranker.filter_k",
                "seed",
            }
        ),
        "machine": machine("lightgbm", "polars"),
        "records": records,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ablations.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(records))


if __name__ == "__main__":
    main()
