"""The training step: join, fit both rankers, register the version, and promote it if it is not worse."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from feast import FeatureStore

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.beside import work_beside
from nightreel.core.memory import give_back_memory
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import RankerNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines import model_registry
from pipelines.labels import LABEL_SETTINGS, LengthBuckets
from pipelines.rankers.boosting import BinnedPlays
from pipelines.rankers.classes import Classes
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.holdout import Holdout, promote_if_not_worse
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.importances import Importance, write_importances
from pipelines.rankers.list_order import PastLists, with_fitted_order
from pipelines.rankers.objective import (
    SHOWN,
    Chosen,
    NextDayPast,
    choose_objective,
    is_fully_observed,
    judged_past,
    past_rankers,
    past_rows,
)
from pipelines.rankers.shown_shrinkage import lists_of_matrix, with_fitted_shrinkage
from pipelines.rankers.slices import Slices
from pipelines.rankers.training_data import TrainingData, source_files, sources
from pipelines.training_frame import service_features

_LIBRARIES = ("feast", "lightgbm", "numpy", "polars", "pyarrow")
_PRINTED_FEATURES = 15
_OF_SHOWN = (
    "trees, order, metrics and importances are of the rankers of objective shown, which do not make the "
    "lists; `nightreel evaluate` judges those that do"
)


class TrainFacts(Facts):
    """What was trained, whether it became the champion and why, and the figures of the holdout.

    Attributes:
        plays: the number in each slice.
        importances: the features that matter most.
    """

    version: str
    verdict: str
    plays: dict[str, int]
    liked_share: float
    classifier_learns: str
    objective: str
    why: str
    trees: dict[str, int]
    order: dict[str, float]
    metrics: dict[str, Any]
    importances: Sequence[Mapping[str, Any]]

    @property
    def for_the_record(self) -> tuple[str, ...]:
        """Whether it became the champion, and why."""
        return (self.verdict,)


def train(settings: RankerNeeds, *, force: bool = False) -> StepResult[TrainFacts]:
    """Fit the rankers on all plays but the last days, and register them as a new model version.

    It becomes the champion if it is not worse on the holdout. The same data, settings and seed give the same
    version.

    Raises:
        InputError: if tables, features or definitions are missing.
    """
    read = sources(settings)
    store = open_store()
    files, features = [*read, *_matrix(settings.paths)], service_features(store)
    # Longer lists than `ranker.filter_k` lengthen the filter, whose lists the holdout judges.
    kept = filter_size(settings.ranker, settings.lists)
    attempt = TRAIN.attempt(settings, files, force=force, features=features, filter_k=kept)
    pointer = settings.paths.models / model_registry.CHAMPION
    if attempt.known is not None:
        return TRAIN.skipped(read, (pointer,), attempt.known)
    attempt.begin()
    data = TrainingData.join(store, settings)
    give_back_memory()  # what the sources were read into
    classes = Classes.of(data.targets, data.plays[columns.WATCH_RATIO].to_numpy(), data.slices.fit)
    classes.warn(settings.data, settings.ranker)
    if settings.ranker.objective == SHOWN or not data.targets.liked.any():
        classes.require_something_to_learn(settings.data, settings.ranker)
    holdout = Holdout.of(data, store)
    ranker, metrics, past = _fit_both(data, holdout, store, settings)
    chosen = choose_objective(data, store, ranker, past, settings)
    if chosen.objective == SHOWN:
        classes.require_something_to_learn(settings.data, settings.ranker)
    version = model_registry.register(
        settings.paths,
        lambda folder: _write(ranker, data.buckets, chosen, folder),
        data_end=data.cuts.last_day,
        manifest=_manifest(ranker, data, settings)
        | {"classifier_learns": classes.classifier_learns, "metrics": metrics}
        | chosen.manifest(),
    )
    verdict = promote_if_not_worse(version, holdout, settings)
    facts = TrainFacts(
        version=version.version,
        verdict=verdict,
        plays=_counts(data.slices),
        liked_share=classes.liked_share,
        classifier_learns=version.manifest["classifier_learns"],
        **{name: version.manifest[name] for name in ("objective", "why", "trees", "order", "metrics")},
        remarks=(*data.sample.remarks(), *([] if chosen.objective == SHOWN else [_OF_SHOWN])) or None,
        importances=_printed(ranker),
    )
    outputs = (*sorted(version.folder.iterdir()), pointer)
    return attempt.finished(read, (version.folder, pointer), facts, outputs=outputs)


def _matrix(paths: Paths) -> list[Path]:
    """The fully observed pairs, whose validation users choose objective and weights, if there are any."""
    path = paths.table("fully_observed")
    return [path] if path.is_file() else []


def _fit_both(
    data: TrainingData, holdout: Holdout, store: FeatureStore, settings: RankerNeeds
) -> tuple[HybridRanker, dict[str, float], NextDayPast | None]:
    """The ranker of objective `shown` with its figures, and the next day's rankers that it competes with.

    They are fitted side by side, as each has steps that keep one thread busy: bins are found beside the rows
    of past nights, and past lists made beside the rankers that learn from these. What takes most memory is
    not done at the same time: trees grow after the next day's rankers, and lists are compared after that.
    """
    is_local, has_matrix = settings.cluster.engine != "ray", is_fully_observed(settings.paths)
    with work_beside(settings.threads if is_local else 1) as start:
        rows = start(partial(past_rows, data, store, settings, has_matrix=has_matrix))
        binned = _binned(data, settings) if is_local else None
        made = rows.result()
        give_back_memory()  # what the rows were made from
        past = start(partial(past_rankers, made, data, settings, has_matrix=has_matrix))
        del rows, made
        lists = _lists(data, store, settings, has_matrix=has_matrix)
        give_back_memory()  # what the lists were made from
        past.result()
        give_back_memory()  # the rows of past nights
        ranker = _fitted(binned, data, settings)
        del binned
        give_back_memory()  # the bins of two parts
        judged = start(judged_past, past.result(), data, store, settings)
        ordered = _ordered(ranker, *lists)
        return ordered, holdout.metrics(ordered, settings), judged.result()


def fit_shown(data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> HybridRanker:
    """Fit the rankers of objective `shown`, and their order and shrinkage on past lists."""
    binned = _binned(data, settings) if settings.cluster.engine != "ray" else None
    ranker = _fitted(binned, data, settings)
    return _ordered(ranker, *_lists(data, store, settings, has_matrix=is_fully_observed(settings.paths)))


def _binned(data: TrainingData, settings: RankerNeeds) -> BinnedPlays:
    return BinnedPlays.of(
        data.matrix, data.slices, video_id=data.video_id, encoding=data.encoding, settings=settings
    )


def _fitted(binned: BinnedPlays | None, data: TrainingData, settings: RankerNeeds) -> HybridRanker:
    """Both rankers, on Ray without bins."""
    if binned is not None:
        return binned.fit(data.targets, data.slices, settings)
    from pipelines.rankers.on_ray import fit_rankers_on_ray

    return fit_rankers_on_ray(data, settings)


def _lists(
    data: TrainingData, store: FeatureStore, settings: RankerNeeds, *, has_matrix: bool
) -> tuple[PastLists | None, PastLists | None]:
    """The past lists that fit the order, and the lists that fit the shrinkage: a matrix's where possible."""
    past = PastLists.of(data, store, settings)
    matrix = lists_of_matrix(data, store, settings) if has_matrix else None
    return past, matrix or past


def _ordered(
    ranker: HybridRanker, of_order: PastLists | None, of_shrinkage: PastLists | None
) -> HybridRanker:
    """The ranker with the order and shrinkage that are best on these lists."""
    return with_fitted_shrinkage(with_fitted_order(ranker, of_order), of_shrinkage)


def _write(ranker: HybridRanker, buckets: LengthBuckets, chosen: Chosen, folder: Path) -> None:
    ranker.save(folder)
    chosen.save(folder)
    buckets.save(folder)
    write_importances(folder, ranker.importances())


def _manifest(ranker: HybridRanker, data: TrainingData, settings: RankerNeeds) -> dict[str, Any]:
    plays, cuts = data.plays, data.cuts
    instants = plays[columns.EVENT_TIMESTAMP]
    return {
        "features": list(ranker.feature_names),
        "categorical": list(ranker.encoding.categorical),
        "data": {
            "first_play": instants[0].isoformat(),
            "last_play": instants[-1].isoformat(),
            "early_stopping_from": cuts.stop_from.isoformat(),
            "holdout_from": cuts.holdout_from.isoformat(),
            "users_share": data.sample.share,
            "users": plays[columns.USER_ID].n_unique(),
            "videos": plays[columns.VIDEO_ID].n_unique(),
            **_counts(data.slices),
        },
        "settings": TRAIN.settings_in(settings),
        "trees": {
            "classifier": ranker.classifier.num_trees(),
            "regressor": ranker.regressor.num_trees(),
        },
        "order": {name: weight for name, weight in ranker.order.weights.items() if weight},
        "shrinkage": ranker.shrinkage.to_dict(),
        "libraries": {name: library_version(name) for name in _LIBRARIES},
    }


def _counts(slices: Slices) -> dict[str, int]:
    return {
        "fit": slices.fit.stop - slices.fit.start,
        "early_stopping": slices.stop.stop - slices.stop.start,
        "holdout": slices.holdout.stop - slices.holdout.start,
    }


def _printed(ranker: HybridRanker) -> list[Importance]:
    """The features that matter most to either model; `importances.json` has all of them."""
    return sorted(ranker.importances(), key=lambda row: -row["classifier_gain"] - row["regressor_gain"])[
        :_PRINTED_FEATURES
    ]


TRAIN: Step[TrainFacts] = Step(
    name="train",
    does="Join features to plays as of their time, fit the rankers, and promote them if they are not worse.",
    reads=lambda settings: (*source_files(settings), *_matrix(settings.paths), settings.paths.registry),
    writes=lambda settings: (settings.paths.models,),
    settings=(
        "cluster.engine",
        "seed",
        "threads",
        "data.time_zone",
        *LABEL_SETTINGS,
        "data.targets.watch_ratio_clip",
        "evaluation.holdout_days",
        "evaluation.backtest_days",
        "ranker.lightgbm",
        "ranker.regressor",
        "ranker.filter_k",
        "ranker.objective",
        "evaluation.tuning_share",
        "retrieval.sources",
        "retrieval.source_k",
        "features.als.factors",
    ),
    also="`lists.top_k`, if it is larger than `ranker.filter_k`",
    facts=TrainFacts,
    run=lambda settings, request: train(settings, force=request.force),
)
