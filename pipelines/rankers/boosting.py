"""Fits classifier and regressor with LightGBM, deterministically, on one binned part of the plays at a time.

A large log is dealt into parts of TREE_ROWS plays, every n-th play to the same part. Some trees are fitted
on the first part, the next ones, on top of what these predict, on the second, and so on: no more than two
parts are in memory, and a tree costs what its part costs. Bagging of the whole log to the same number of rows
costs four times as much a tree on KuaiRec: each tree has to be applied to all plays. Of a log of more than
PLAYS_MAX plays every second one is learnt from, or every third and so on: the others change nothing that is
measured.

What else was tried, for speed and for quality: docs/decisions/boosting.md. The other defaults come from a
study (docs/tuning.md). A model that is best after a few of its trees has learnt from a few of the parts, so
learning rates are low enough that nearly all trees are used.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np

from nightreel.core.logs import Advance, progress
from nightreel.core.memory import give_back_memory
from nightreel.core.settings import RankerSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.labels import Targets
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.binning import SAMPLE_ROWS, Binning, Matrix, Part
from pipelines.rankers.classes import classifier_target
from pipelines.rankers.continuing import continued
from pipelines.rankers.data_sets import silence_lightgbm
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.row_forest import RowForest
from pipelines.rankers.slices import Slices

_STOP_ROWS = 200_000
# Most plays that one tree is fitted on, and most that are learnt from at all: docs/decisions/boosting.md.
TREE_ROWS, PLAYS_MAX = 500_000, 6_000_000
_MODELS = 2  # that grow at a time
# Weight, in plays, that pulls what a category says to the mean of all, found by `nightreel tune`.
_CATEGORY_PLAYS = 2_870.0
_REGRESSOR: dict[str, Any] = {"objective": "regression", "metric": "l2"}


class _Growing:
    """A model that grows part by part, and its quality on the early-stopping plays."""

    def __init__(
        self,
        target: np.ndarray,
        parameters: dict[str, Any],
        stop: Part,
        patience_trees: int,
        loss_of_all: Callable[[float], float] | None,
    ) -> None:
        self.stopped = False
        self._loss_of_all = loss_of_all
        self._target = target
        self._parameters = parameters
        self._stop = stop.copy().data
        self._stop.set_label(self._labels(stop))
        self._patience_trees = patience_trees
        self._stop_features = stop.features
        # The raw scores of the early-stopping plays, and the number of trees that they come from.
        self._stop_scores: tuple[np.ndarray | None, int] = (None, 0)
        self._booster: lgb.Booster | None = None
        # How often it has drawn features since it was made: once for its data, and once for each tree.
        self._drawn = 0
        # LightGBM itself still reads the last part while it turns to the next one, so that is freed later.
        self._part: Part | None = None
        self._best = np.inf
        self._best_trees = 0

    def turn_to(self, part: Part) -> None:
        """Prepare to grow on a part, starting from the predictions of the trees so far."""
        part.data.set_label(self._labels(part))
        if self._booster is None:
            self._booster = lgb.Booster(self._parameters, part.data)
            self._booster.add_valid(self._stop, "stop")
        elif part.features is not None and self._stop_features is not None:
            # Read back from its text, a model has the same trees and keeps no part in memory.
            self._booster = lgb.Booster(model_str=self._booster.model_to_string())
            self._part = None
            give_back_memory()
            known = RowForest.of(self._booster)
            part.data.set_init_score(known.raw(part.features))
            before, trees = self._stop_scores
            self._stop_scores = known.raw(self._stop_features, before, trees), self._booster.num_trees()
            self._stop.set_init_score(self._stop_scores[0])
            self._booster = continued(
                self._booster, self._parameters, part.data, self._stop, drawn=self._drawn
            )
        else:
            return
        self._drawn = 1

    def grow(self, part: Part, trees: int, advance: Advance) -> None:
        """Fit more trees on a part that it has turned to."""
        assert self._booster is not None
        for _ in range(trees):
            # A part that is new to the model is first scored by the trees so far.
            self._booster.update(train_set=part.data)
            self._drawn += 1
            self._part = part
            advance()
            ((_, _, loss, _),) = self._booster.eval_valid()
            if self._loss_of_all is not None:
                loss = self._loss_of_all(loss)
            if loss < self._best:
                self._best, self._best_trees = loss, self._booster.current_iteration()
            elif self._booster.current_iteration() - self._best_trees >= self._patience_trees:
                self.stopped = True
                return

    def _labels(self, part: Part) -> np.ndarray:
        labels: np.ndarray = self._target[part.rows].astype(np.float32)
        return labels

    def finished(self) -> lgb.Booster:
        """The model with its best number of trees, read back from its text, just as it will be loaded."""
        assert self._booster is not None
        return lgb.Booster(model_str=self._booster.model_to_string(num_iteration=self._best_trees))


@dataclass(frozen=True)
class BinnedPlays:
    """Plays whose bins are found, ready to be learnt from part by part.

    Attributes:
        rows: the plays that are learnt from.
        stop: the early-stopping plays, without their features.
        parameters: LightGBM's.
    """

    binning: Binning
    rows: range
    stop: Part
    encoding: FeatureEncoding
    parameters: dict[str, Any]

    @classmethod
    def of(
        cls,
        matrix: Matrix,
        slices: Slices,
        *,
        video_id: np.ndarray,
        encoding: FeatureEncoding,
        settings: RankerNeeds,
    ) -> "BinnedPlays":
        """Find the bins, on slices.fit, and bin slices.stop.

        Args:
            matrix: all rows in order of time.
            video_id: int64 [rows].
        """
        rows = fitted_rows(slices)
        parameters = common_parameters(settings, len(rows))
        binning = Binning(matrix, rows, video_id, encoding, parameters, keeps_features=True)
        stop = binning.part(validation_rows(slices))
        # They are composed again for the fit, as other work meanwhile needs the memory.
        stop.forget_features()
        return cls(binning, rows, stop, encoding, parameters)

    def fit(self, targets: Targets, slices: Slices, settings: RankerNeeds) -> HybridRanker:
        """Fit both rankers on slices.fit, each stopped early on slices.stop.

        The features of a part are binned once for both models. The same input gives the same models.

        Args:
            targets: those of all rows.
            slices, settings: those that the bins were found with.
        """
        parts = number_of_parts(settings.ranker, len(self.rows))
        return grow_rankers(
            self.binning.parts(self.rows, parts),
            parts=parts,
            stop=replace(self.stop, features=self.binning.features(self.stop.rows)),
            targets=targets,
            fit=slices.fit,
            parameters=self.parameters,
            encoding=self.encoding,
            settings=settings.ranker,
            threads=settings.threads,
        )


def fitted_rows(slices: Slices) -> range:
    """The training plays: slices.fit, thinned evenly if it is very long."""
    rows = range(slices.fit.start, slices.fit.stop)
    return rows[:: max(1, -(-len(rows) // PLAYS_MAX))]


def validation_rows(slices: Slices) -> range:
    """The early-stopping plays: slices.stop, thinned evenly if it is very long."""
    rows = range(slices.stop.start, slices.stop.stop)
    return rows[:: max(1, len(rows) // _STOP_ROWS)]


def number_of_parts(settings: RankerSettings, rows: int) -> int:
    """The number of parts that this many plays are split into; each part gets at least one tree."""
    return min(-(-rows // TREE_ROWS), settings.lightgbm.num_iterations) or 1


def grow_rankers(
    binned: Iterable[Part],
    *,
    parts: int,
    stop: Part,
    targets: Targets,
    fit: slice,
    parameters: Mapping[str, Any],
    encoding: FeatureEncoding,
    settings: RankerSettings,
    threads: int,
    title: str = "rankers",
    loss_of_all: Callable[[float], float] | None = None,
) -> HybridRanker:
    """Fit both rankers part by part, all parts with the same bins; early stopping is measured on `stop`.

    On one machine the two grow side by side, each with half of the threads, since LightGBM's threads wait for
    each other at every step of a tree. Trees do not depend on the number of threads.

    Args:
        targets: those of all rows.
        fit: the rows that are fitted on, by all workers together.
        parameters: LightGBM's, from `common_parameters`.
        title: of the progress bar.
        loss_of_all: where other workers fit other plays, and stop by others: what the mean loss of this
            worker's early-stopping plays is with theirs. None on one machine.
    """
    of_classifier, classifies = classifier_target(targets, fit)
    trees = settings.lightgbm.num_iterations
    patience_trees = settings.lightgbm.early_stopping_round
    models = [
        _Growing(target, {**parameters, **own}, stop, patience_trees, loss_of_all)
        for target, own in (
            (of_classifier, classifies),
            (targets.amount, settings.regressor.parameters() | _REGRESSOR),
        )
    ]
    with (
        progress(title, total=trees * len(models)) as advance,
        ThreadPoolExecutor(_MODELS, initializer=silence_lightgbm) as pool,
    ):
        for position, part in enumerate(binned):
            of_part = len(range(position, trees, parts))
            growing = [model for model in models if not model.stopped]
            if loss_of_all is not None or threads == 1:
                # Connections to other workers belong to the thread that made them.
                for model in growing:
                    model.turn_to(part)
                    model.grow(part, of_part, advance)
            else:
                copies = [part, *(part.copy() for _ in growing[1:])]
                list(pool.map(_Growing.turn_to, growing, copies))
                for copy in copies:
                    copy.forget_features()
                give_back_memory()
                grown = [
                    pool.submit(model.grow, copy, of_part, advance)
                    for model, copy in zip(growing, copies, strict=True)
                ]
                for one in grown:
                    one.result()
            if all(model.stopped for model in models):
                break
    classifier, regressor = (model.finished() for model in models)
    return HybridRanker(encoding, classifier, regressor, threads=threads)


def common_parameters(settings: RankerNeeds, rows: int) -> dict[str, Any]:
    """LightGBM's parameters that all rankers share.

    Args:
        rows: the number of rows that are fitted on.
    """
    # Codes with hundreds of values (onehot_feat3, author_id) overfit unless each needs the support of many
    # plays; a small log has few plays to ask for.
    shrinkage = min(max(rows / 700, 20.0), _CATEGORY_PLAYS)
    # If there are parts, a tree sees a sample of the plays anyway.
    bagging = {"bagging_fraction": 0.7, "bagging_freq": 1} if rows <= TREE_ROWS else {}
    ours = bagging | {
        "lambda_l1": 0.05,
        "cat_smooth": shrinkage,
        "cat_l2": shrinkage,
        "min_data_per_group": int(shrinkage),
        "max_cat_threshold": 8,
        "bin_construct_sample_cnt": SAMPLE_ROWS,
    }
    chosen = settings.ranker.lightgbm.parameters()
    # The number of trees is set where they grow, part by part.
    for counted in ("num_iterations", "early_stopping_round"):
        del chosen[counted]
    # Fixed parameters come last, so that they override others.
    return (
        ours
        | chosen
        | {
            "max_bin": 255,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": -(-settings.threads // _MODELS),
            "seed": settings.seed,
            "verbose": -1,
        }
    )
