"""Compares every system on held-out data: a record a figure in metrics.json, a table for each protocol."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_repo.open_store import store as open_store
from nightreel.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files, written_whole
from nightreel.logs import progress
from nightreel.settings import Settings
from pipelines import model_registry
from pipelines.evaluate.figures import CUTOFFS, Figure, figures
from pipelines.evaluate.protocols import Pairs, protocol_pairs
from pipelines.evaluate.trials import Trial, trial, truth_file
from pipelines.rankers import HybridRanker

__all__ = ["evaluate"]

_SETTINGS = {
    "seed",
    "time_zone",
    "like_threshold",
    "watch_ratio_clip",
    "test_sample",
    "holdout_days",
    "filter_k",
}
_PRINTED = ("ndcg", "ndcg_graded", "precision", "recall", "map")


def evaluate(settings: Settings, *, force: bool = False) -> StepResult:
    """Rank held-out pairs with every system and write the figures to `data/evaluation`.

    metrics.json: a list of records (protocol, label, system, metric, k, slice, value, low, high, users).
    <protocol>.csv: a row for each system and k. Raises InputError where no model is trained.
    """
    model = model_registry.champion(settings)
    tables = [settings.paths.table(name) for name in ("interactions", "fully_observed")]
    read = (*(path for path in tables if path.is_file()), model.folder)
    inputs = [*tables, *settings.paths.features.glob("*.parquet"), truth_file(settings)]
    record = StepRecord(settings.paths.state / "evaluate.json")
    current = fingerprint(
        files=fingerprint_of_files(inputs),
        settings=settings.model_dump(include=_SETTINGS),
        model=model.version,
    )
    metrics = settings.paths.evaluation / "metrics.json"
    if not force and record.is_done(current):
        return StepResult("evaluate", True, read, (metrics,), record.summary())
    record.forget()
    ranker = HybridRanker.load(model.folder, threads=settings.threads)
    store = open_store()
    found: list[Figure] = []
    tables_written = []
    summary: dict[str, Any] = {"model": model.version}
    for pairs in protocol_pairs(settings, model):
        made = trial(pairs, store=store, ranker=ranker, settings=settings)
        own = _all_figures(made, settings)
        found += own
        tables_written.append(settings.paths.evaluation / f"{pairs.protocol}.csv")
        _write_table(own, tables_written[-1])
        summary[pairs.protocol] = _facts(pairs, made, own, settings)
    with written_whole(metrics) as temporary:
        temporary.write_text(json.dumps([asdict(figure) for figure in found], indent=1), encoding="utf-8")
    wrote = (metrics, *tables_written)
    record.finish(current, wrote, summary)
    return StepResult("evaluate", False, read, wrote, summary)


def _all_figures(made: Trial, settings: Settings) -> list[Figure]:
    with progress(f"evaluate {made.protocol}", total=len(made.scores)) as advance:
        found = []
        for system in made.scores:
            found += list(figures(made, system, settings))
            advance()
    return found


def _write_table(own: list[Figure], path: Path) -> None:
    """A row for each system and k, a column for each metric; metrics without a k have own rows."""
    rows: dict[tuple[str, int | None], dict[str, Any]] = {}
    for figure in own:
        row = rows.setdefault((figure.system, figure.k), {"system": figure.system, "k": figure.k})
        row[figure.metric] = figure.value
    with written_whole(path) as temporary:
        pl.DataFrame(list(rows.values()), infer_schema_length=None).write_csv(temporary)


def _facts(pairs: Pairs, made: Trial, own: list[Figure], settings: Settings) -> dict[str, Any]:
    """What the command line prints of a protocol: what was ranked, and each system's figures at 10."""
    liked = made.watch_ratio > settings.like_threshold
    table = [
        {"system": system}
        | {
            f"{figure.metric}@{figure.k}": figure.value
            for figure in own
            if figure.system == system and figure.k == CUTOFFS[0] and figure.metric in _PRINTED
        }
        for system in made.scores
    ]
    return {
        "features_as_of": pairs.as_of.isoformat(),
        "pairs": len(liked),
        "users": len(np.unique(made.user_id)),
        "users_with_a_liked_video": len(np.unique(made.user_id[liked])),
        "liked_share": float(liked.mean()) if len(liked) else 0.0,
        "systems": table,
    }
