"""Compares every system on held-out data: a record a figure in metrics.json, a table for each protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_repo.open_store import store as open_store
from nightreel.core.artefacts import atomic_write
from nightreel.core.beside import work_beside
from nightreel.core.checksums import require_as_written
from nightreel.core.logs import progress
from nightreel.core.memory import give_back_memory
from nightreel.core.play_days import table_exists
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import NightNeeds, RankerNeeds
from nightreel.core.steps import Step, StepResult
from pipelines import model_registry
from pipelines.evaluate.facts import EvaluateFacts, NextDayFacts, ProtocolFacts, SampleRow, SharedFacts
from pipelines.evaluate.figures import ALL, CUTOFFS, Figure, Measuring
from pipelines.evaluate.next_day import NEXT_DAY, NextDay, inputs, next_day
from pipelines.evaluate.next_day_facts import facts as next_day_facts
from pipelines.evaluate.next_day_figures import all_figures
from pipelines.evaluate.pair_scores import Models, truth_file
from pipelines.evaluate.protocols import RANKED, protocol_pairs
from pipelines.evaluate.repeat_fit import fit_repeat_discount
from pipelines.evaluate.shared_lists import shared_figures
from pipelines.evaluate.system_names import HYBRID
from pipelines.evaluate.trials import Trial, trial
from pipelines.known import table_files
from pipelines.labels import LABEL_SETTINGS, LengthBuckets, labels_of
from pipelines.rankers import HybridRanker
from pipelines.rankers.filtering import filter_size
from pipelines.repeat_discount import FITTED, FittedDiscount

__all__ = ["EVALUATE", "evaluate"]

SAMPLES = "samples.json"
_SAMPLE_USERS = 3
_SAMPLE_ROWS = 10
_PRINTED = ("ndcg", "ndcg_graded", "precision", "recall", "map")


def evaluate(settings: NightNeeds, *, force: bool = False) -> StepResult[EvaluateFacts]:
    """Rank held-out pairs with every system and write the figures to `data/evaluation`.

    `next_day` comes first if `scoring.backtest` has made lists of past days with this model. metrics.json: a
    list of records (protocol, label, system, metric, k, slice, value, low, high, users). <protocol>.csv: a
    row for each system and k.

    Raises:
        InputError: if no model is trained, or a file that is read is not as its step wrote it.
    """
    model = model_registry.champion(settings.paths)
    tables = _tables(settings.paths)
    read = (*filter(table_exists, tables), model.folder)
    files = [
        *tables,
        *settings.paths.features.glob("*.parquet"),
        truth_file(settings.data),
        *inputs(settings.paths),
    ]
    kept = filter_size(settings.ranker, settings.lists)
    attempt = EVALUATE.attempt(settings, files, force=force, model=model.version, filter_k=kept)
    metrics = settings.paths.evaluation / "metrics.json"
    if attempt.known is not None:
        return EVALUATE.skipped(read, (metrics,), attempt.known)
    require_as_written((*table_files(settings.paths), *files))
    attempt.begin()
    give_back_memory()  # the backtest has run in the same process
    models = Models(
        HybridRanker.load(model.folder, threads=settings.threads), LengthBuckets.load(model.folder)
    )
    store = open_store()
    samples: list[SampleRow] = []
    of_pairs: list[Figure] = []
    of_protocols: dict[str, ProtocolFacts] = {}
    with work_beside(settings.threads) as start:
        waiting = start(_of_backtest, settings, models.buckets, model.version)
        measured = []
        for pairs in protocol_pairs(settings, model):
            made = trial(pairs, store=store, models=models, settings=settings)
            give_back_memory()  # what the scores were made from
            # Beside the next protocol's scores, which keep one thread busy most of the time.
            measured.append(start(_of_protocol, made, pairs.as_of, settings))
            del made, pairs
        of_backtest = waiting.result()
        for of_protocol in measured:
            own = of_protocol.result()
            samples += own.samples
            of_pairs += own.figures
            of_protocols[own.protocol] = own.facts
    found = [*of_backtest.figures, *of_pairs]
    of_days = [NEXT_DAY] if of_backtest.next_day is not None else []
    tables_written = []
    for protocol in (*of_days, *of_backtest.shared, *of_protocols):
        tables_written.append(settings.paths.evaluation / f"{protocol}.csv")
        _write_table([figure for figure in found if figure.protocol == protocol], tables_written[-1])
    tables_written.append(settings.paths.evaluation / SAMPLES)
    with atomic_write(tables_written[-1]) as temporary:
        temporary.write_text(json.dumps(samples, indent=1), encoding="utf-8")
    with atomic_write(metrics) as temporary:
        # A line per record: there are tens of thousands, and json indents in Python.
        lines = ",\n".join(json.dumps(vars(figure)) for figure in found)
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    wrote = (metrics, *tables_written)
    said = EvaluateFacts(
        model=model.version,
        next_day=of_backtest.next_day,
        repeat_discount=of_backtest.repeat_discount,
        shared=of_backtest.shared,
        protocols=of_protocols,
    )
    return attempt.finished(read, wrote, said, outputs=wrote)


@dataclass(frozen=True)
class _OfProtocol:
    """The figures of a protocol's pairs, sample lists and facts."""

    protocol: str
    figures: list[Figure]
    samples: list[SampleRow]
    facts: ProtocolFacts


@dataclass(frozen=True)
class _OfBacktest:
    """The figures of the lists that the backtest made, and their facts."""

    figures: list[Figure]
    next_day: NextDayFacts | None
    repeat_discount: FittedDiscount | None
    shared: Mapping[str, SharedFacts]


def _of_backtest(settings: NightNeeds, buckets: LengthBuckets, version: str) -> _OfBacktest:
    figures: list[Figure] = []
    facts, fit = None, None
    judged = next_day(settings, buckets, version)
    if judged is not None:
        figures = _of_next_day(judged, settings)
        facts = next_day_facts(judged, figures, settings.data)
        if settings.lists.repeat_discount == FITTED:
            fit = fit_repeat_discount(judged, settings)
    of_shared, shared = shared_figures(settings, buckets, version)
    return _OfBacktest([*figures, *of_shared], facts, fit, shared)


def _of_next_day(judged: NextDay, settings: RankerNeeds) -> list[Figure]:
    found: list[Figure] = []
    with progress(f"evaluate {NEXT_DAY}", total=len(judged.backtest.systems)) as advance:
        for own in all_figures(judged, settings):
            found += own
            advance()
    order = {system: n for n, system in enumerate(judged.backtest.systems)}
    return sorted(found, key=lambda figure: order[figure.system])


def _of_protocol(made: Trial, as_of: datetime, settings: RankerNeeds) -> _OfProtocol:
    own = _all_figures(made, settings)
    give_back_memory()
    return _OfProtocol(
        made.protocol, own, _samples(made, settings.data), _facts(made, as_of, own, settings.data)
    )


def _all_figures(made: Trial, settings: RankerNeeds) -> list[Figure]:
    with progress(f"evaluate {made.protocol}", total=len(made.scores)) as advance:
        found: list[Figure] = []
        for own in Measuring(made, settings).figures():
            found += own
            advance()
    order = {system: position for position, system in enumerate(made.scores)}
    return sorted(found, key=lambda figure: order[figure.system])


def _samples(made: Trial, settings: DataSettings) -> list[SampleRow]:
    """The first of the hybrid's lists, with the true outcome of each video."""
    rows: list[SampleRow] = []
    for user in made.users[:: max(len(made.users) // _SAMPLE_USERS, 1)][:_SAMPLE_USERS].tolist():
        mine = np.flatnonzero(made.user_id == user)
        order = mine[np.lexsort((made.video_id[mine], -made.scores[HYBRID][mine]))][:_SAMPLE_ROWS]
        rows += [
            SampleRow(
                protocol=made.protocol,
                user_id=user,
                rank=rank,
                video_id=int(made.video_id[pair]),
                length_s=float(made.videos.length_s[made.video[pair]]),
                watch_ratio=float(made.watch_ratio[pair]),
                liked=bool(made.targets[settings.targets.label].liked[pair]),
            )
            for rank, pair in enumerate(order, start=1)
        ]
    return rows


def _write_table(own: list[Figure], path: Path) -> None:
    """A row for each label, system and k, a column for each metric; metrics without a k have own rows."""
    rows: dict[tuple[str, str, str, int | None], dict[str, Any]] = {}
    for figure in own:
        if figure.slice == ALL:
            key = {name: getattr(figure, name) for name in ("protocol", "label", "system", "k")}
            row = rows.setdefault((figure.protocol, figure.label, figure.system, figure.k), key)
            row[figure.metric] = figure.value
    with atomic_write(path) as temporary:
        pl.DataFrame(list(rows.values()), infer_schema_length=None).write_csv(temporary)


def _facts(made: Trial, as_of: datetime, own: list[Figure], settings: DataSettings) -> ProtocolFacts:
    """The facts of a protocol for the command line: what was ranked, and each system's figures at 10."""
    tables: dict[str, list[dict[str, Any]]] = {
        label: [
            {"system": system}
            | {
                f"{figure.metric}@{figure.k}": figure.value
                for figure in own
                if (figure.system, figure.label, figure.k, figure.slice) == (system, label, CUTOFFS[0], ALL)
                and figure.metric in _PRINTED
            }
            for system in made.scores
        ]
        for label in labels_of(settings)
    }
    liked = made.targets[settings.targets.label].liked
    return ProtocolFacts(
        ranks=RANKED[made.protocol],
        features_as_of=as_of.isoformat(),
        pairs=len(liked),
        users=len(made.users),
        users_with_a_liked_video=len(np.unique(made.user_id[liked])),
        validation_users=made.tuned.users,
        liked_share={
            label: float(made.targets[label].liked.mean()) if len(liked) else 0.0
            for label in labels_of(settings)
        },
        blend_weights={name: weight for name, weight in made.tuned.blend.weights.items() if weight},
        hybrid_by_filter_k_on_the_tuning_users={str(k): v for k, v in made.tuned.filters.items()},
        by_label=tables,
    )


def _tables(paths: Paths) -> list[Path]:
    """The tables that are read, there or not."""
    return [paths.interactions, *map(paths.table, ("fully_observed", "users"))]


EVALUATE: Step[EvaluateFacts] = Step(
    name="evaluate",
    does="Judge the lists of the last days, and compare the models with simpler ones.",
    reads=lambda settings: (
        *_tables(settings.paths),
        settings.paths.features,
        settings.paths.backtest,
        settings.paths.models,
    ),
    writes=lambda settings: (settings.paths.evaluation,),
    settings=(
        "seed",
        "data.time_zone",
        *LABEL_SETTINGS,
        "data.targets.watch_ratio_clip",
        "evaluation.tuning_share",
        "evaluation.holdout_days",
        "evaluation.backtest_days",
        "lists.repeat_discount",
        "ranker.filter_k",
        "retrieval.sources",
    ),
    also="`lists.top_k`, if it is larger than `ranker.filter_k`",
    facts=EvaluateFacts,
    run=lambda settings, request: evaluate(settings, force=request.force),
)
