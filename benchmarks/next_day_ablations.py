"""What does each part of the next day's rankers give? Each is left out in turn, and the order judged again.

For homes that are trained on real logs: the rankers are fitted on the candidates of nights before the days
of the backtest, as `train` fits those that judge, and order the candidates of the nights after. Where those
hold hardly any users, as in a log of users who come once, half of the users judge instead, by hash. Left out
are each candidate source, with the candidates that it alone had named, each group of features, and each
model; the order stays that of the whole.
What counts are the likes among the candidates of all sources: one that is no longer a candidate is missed.
Prints a markdown table with intervals of the paired difference to the whole, by a bootstrap over users'
nights, and adds it to benchmarks/results/next_day_ablations.json.

    python benchmarks/next_day_ablations.py NAME=HOME [NAME=HOME ...] [--rows 600000]
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nightreel.core.instants import unix_us

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks.full_kuairec import RESULTS
from benchmarks.measured_process import machine
from feature_repo.home import working_on
from feature_repo.open_store import store
from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS as CATALOGUE_GROUPS
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.hashing import uniform_hash
from pipelines.local_days import end_of_day
from pipelines.metrics import Bootstrap, Order, Outcome, RankedLists, ndcg_at_k, recall_at_k
from pipelines.rankers import HybridRanker
from pipelines.rankers.blend import Blend
from pipelines.rankers.next_day import CLASSIFIER, LAMBDAMART, REGRESSOR, SOURCES, mean_of_sources
from pipelines.rankers.next_day_training import fit_next_day
from pipelines.rankers.past_nights import ROWS_MAX, NightRows, night_rows
from pipelines.rankers.slices import days_of_table, time_cuts
from pipelines.retrieval.fits import source_names
from pipelines.training_frame import read_plays

RESULT = RESULTS / "next_day_ablations.json"
METRICS = ("ndcg@10", "recall@20", "recall@100")
# Features by how their names begin; a source's own go with the source.
GROUPS = {
    "Feast's als_score": (columns.ALS_SCORE,),
    "the user with the video's groups": tuple(f"{group.join_key}_" for group in CATALOGUE_GROUPS),
    "the video's last days": ("shown_", "liked_", "watched_"),
    "the video's ages": ("days_since_first_play", "days_since_last_play", "days_since_upload"),
    "the video's aggregates and length": ("video_",),
    "the video's daily record": ("last_day_",),
    "the user's history": ("history_", "days_since_play", "user_agg_"),
}
_DEPTH = 100
_LATE_NIGHTS_MIN, _ORDER_SHARE = 100, 0.25


def main() -> None:
    """Measure every home; print its table and add it to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("homes", nargs="+", metavar="NAME=HOME", help="trained homes")
    parser.add_argument(
        "--rows",
        type=int,
        default=ROWS_MAX,
        help=f"rows of candidates that came to nothing, about ({ROWS_MAX})",
    )
    arguments = parser.parse_args()
    tables = json.loads(RESULT.read_text(encoding="utf-8"))["tables"] if RESULT.is_file() else {}
    for chosen in arguments.homes:
        name, _, home = chosen.partition("=")
        os.environ["NIGHTREEL_HOME"] = str(Path(home).resolve())
        settings = load_settings()
        with working_on(settings):
            tables[name] = _table(_Split.of(settings, arguments.rows), settings)
        print(f"\n{_markdown(name, tables[name])}", flush=True)
    RESULT.write_text(
        json.dumps({"machine": machine("lightgbm", "implicit"), "tables": tables}, indent=1) + "\n",
        encoding="utf-8",
    )


@dataclass(frozen=True)
class _Split:
    """Rows of nights that train and of nights after them, of which every candidate is there."""

    train: NightRows
    test: NightRows

    @classmethod
    def of(cls, settings: Settings, rows_max: int) -> "_Split":
        plays = read_plays(settings.paths)
        days = days_of_table(settings.paths.interactions)
        cuts = time_cuts(days, settings.data, settings.evaluation)
        encoding = HybridRanker.load(model_registry.champion(settings.paths).folder, threads=1).encoding
        until = end_of_day(cuts.last_day, settings.data.zone)
        rows = night_rows(plays, store(), encoding, until, settings, rows_max=rows_max)
        if rows is None:
            sys.exit(f"{settings.home}: no candidate of a past night was liked.")
        train = rows.before(cuts.holdout_from)
        later = rows.is_validation & (rows.until_us > unix_us(cuts.holdout_from))
        if train is not None and len(np.unique(rows.group[later])) >= _LATE_NIGHTS_MIN:
            return cls(train, _some(rows, later))
        others = _some(rows, ~rows.is_validation)
        chooses = uniform_hash(others.group.astype(np.uint64), settings.seed) < _ORDER_SHARE
        return cls(replace(others, is_validation=chooses), _some(rows, rows.is_validation))


def _some(rows: NightRows, chosen: np.ndarray) -> NightRows:
    parts = (
        "features",
        "liked",
        "amount",
        "group",
        "is_validation",
        "is_sampled",
        "video_id",
        "night",
        "until_us",
    )
    return replace(rows, **{name: getattr(rows, name)[chosen] for name in parts})


def _without(rows: NightRows, left_out: set[str]) -> NightRows:
    kept = [position for position, name in enumerate(rows.names) if name not in left_out]
    names = tuple(rows.names[position] for position in kept)
    return replace(rows, names=names, features=np.ascontiguousarray(rows.features[:, kept]))


def _named_by(rows: NightRows, source: str, settings: Settings) -> np.ndarray:
    """Whether the video is among the source's best: bool [rows]."""
    rank = rows.features[:, rows.names.index(f"{source}_rank")]
    named: np.ndarray = np.expm1(rank) < settings.retrieval.source_k - 0.5
    return named


def _scores(split: _Split, settings: Settings) -> Iterator[tuple[str, np.ndarray]]:
    """Each system's name and its scores of the test's rows, -inf if the video is not a candidate."""
    train, test = split.train, split.test
    whole, _ = fit_next_day(train, settings.seed, settings.threads)
    yield "all of it", whole.ordering(test.features, whole.probability(test.features))
    for model in (CLASSIFIER, REGRESSOR, LAMBDAMART):
        yield f"{model} alone", whole.raw(model, test.features)
    yield f"mean of {SOURCES} alone", mean_of_sources(test.names, test.features)
    sources = source_names(settings.retrieval)
    named = {name: (_named_by(train, name, settings), _named_by(test, name, settings)) for name in sources}
    for source in sources:
        by_others = [
            np.any([of[part] for name, of in named.items() if name != source], axis=0) for part in (0, 1)
        ]
        yield (
            f"without source {source}",
            _refitted(split, {source, f"{source}_rank"}, by_others, whole.order, settings),
        )
    every = [np.ones(len(rows.liked), dtype=bool) for rows in (train, test)]
    for group, starts in GROUPS.items():
        names = {name for name in train.names if name.startswith(starts)}
        yield f"without {group}", _refitted(split, names, every, whole.order, settings)


def _refitted(
    split: _Split, left_out: set[str], candidates: list[np.ndarray], order: Blend, settings: Settings
) -> np.ndarray:
    train = split.train
    # As in training: examples in which no candidate was liked say nothing.
    has_liked = np.bincount(train.group, train.liked & candidates[0]) > 0
    chosen = candidates[0] & has_liked[train.group]
    rows = _without(_some(train, chosen), left_out)
    fitted, _ = fit_next_day(
        replace(rows, is_validation=np.zeros_like(rows.is_validation)), settings.seed, settings.threads
    )
    ranker = replace(fitted, order=order)
    features = _without(_some(split.test, candidates[1]), left_out).features
    scores = np.full(len(split.test.liked), -np.inf)
    scores[candidates[1]] = ranker.ordering(features, ranker.probability(features))
    return scores


def _table(split: _Split, settings: Settings) -> list[dict[str, object]]:
    test = split.test
    outcome = Outcome.of(test.group, test.liked, None, _DEPTH)
    position = np.arange(len(test.liked))
    bootstrap = Bootstrap.of(int((outcome.relevant_counts > 0).sum()), seed=settings.seed)
    found: list[dict[str, object]] = []
    first: np.ndarray | None = None
    for name, scores in _scores(split, settings):
        lists = RankedLists.ordered(Order.of(test.group, position, scores), outcome)
        of_users = np.column_stack([ndcg_at_k(lists, 10), recall_at_k(lists, 20), recall_at_k(lists, 100)])
        first = of_users if first is None else first
        difference = bootstrap.intervals(of_users - first)
        found.append(
            {
                "system": name,
                "nights": len(of_users),
                **{
                    metric: {
                        "mean": round(float(of_users[:, column].mean()), 4),
                        "difference": round(float((of_users - first)[:, column].mean()), 4),
                        "interval": [round(float(end), 4) for end in difference[:, column]],
                    }
                    for column, metric in enumerate(METRICS)
                },
            }
        )
    return found


def _markdown(name: str, table: list[Mapping[str, object]]) -> str:
    head = f"| {name}, {table[0]['nights']} users' nights | " + " | ".join(METRICS) + " |"
    lines = [head, "|---" * (len(METRICS) + 1) + "|"]
    for number, row in enumerate(table):
        cells = []
        for metric in METRICS:
            of = row[metric]
            assert isinstance(of, dict)
            low, high = of["interval"]
            difference = f"{of['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
            cells.append(difference if number else f"{of['mean']:.3f}")
        lines.append(f"| {row['system']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
