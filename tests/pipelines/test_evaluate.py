"""The evaluation: every system at every k, as of its instant, and equal to figures worked out apart."""

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.as_published import Size, as_published, rows_of
from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from nightreel.core.steps import StepResult
from pipelines import model_registry
from pipelines.evaluate import evaluate
from pipelines.evaluate.pair_scores import Models
from pipelines.evaluate.protocols import kuairec_pairs, protocol_pairs
from pipelines.evaluate.trials import trial
from pipelines.hashing import uniform_hash
from pipelines.labels import LengthBuckets
from pipelines.rankers import HybridRanker, train
from pipelines.retrieval.sequence.stop_day import StopDay
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.short_training import limit_training
from tests.fixtures.small_log import make_log

LOG = make_log(7, users=30, videos=40, plays=3_000)
MODELS = "ranker.lightgbm.num_iterations = 10\nranker.filter_k = 5\ndata.raw_dir = 'raw'\n"
SYSTEMS = (
    "random",
    "popularity_by_views",
    "popularity_by_engagement",
    "als",
    "classifier",
    "regressor",
    "hybrid",
    "blend",
)
METRICS = ("precision", "recall", "ndcg", "ndcg_graded", "map", "mrr", "hit_rate")
OF_LISTS = (
    "novelty",
    "popularity_percentile",
    "mean_length_s",
    "fresh_share",
    "category_diversity",
    "short_list",
    "repeats",
    "coverage",
    "gini",
)
FIELDS = ["protocol", "label", "system", "metric", "k", "slice", "value", "low", "high", "users"]


def _fully_observed() -> pl.DataFrame:
    """Every pair of twenty users and all videos, some without a time."""
    random = np.random.default_rng(3)
    users, videos = (sorted(LOG.interactions[key].unique()) for key in (columns.USER_ID, columns.VIDEO_ID))
    pairs = [(user, video) for user in users[:20] for video in videos]
    return pl.DataFrame(
        {
            columns.USER_ID: [user for user, _ in pairs],
            columns.VIDEO_ID: [video for _, video in pairs],
            columns.EVENT_TIMESTAMP: [None] * len(pairs),
            columns.WATCH_RATIO: random.gamma(1.2, 0.7, len(pairs)).astype(np.float32),
            columns.VIDEO_DURATION: [5_000 + 300 * video for _, video in pairs],
        },
        schema_overrides={columns.EVENT_TIMESTAMP: pl.Datetime("us", "UTC")},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("evaluate") / "home", LOG, patch, more_settings=MODELS
        )
        small = _fully_observed()
        small.write_parquet(settings.paths.table("fully_observed"))
        truth = small.select(
            columns.USER_ID,
            columns.VIDEO_ID,
            expected_watch_ratio=pl.col(columns.WATCH_RATIO),
            probability_liked=pl.col(columns.WATCH_RATIO) / 100,
        )
        (settings.data.raw_dir / "truth").mkdir(parents=True)
        truth.write_parquet(settings.data.raw_dir / "truth" / "expected_watch_ratio.parquet")
        train(settings)
        yield settings, evaluate(settings)


@pytest.fixture
def settings(home: tuple[Settings, StepResult]) -> Settings:
    return home[0]


@pytest.fixture
def records(settings: Settings, home: tuple[Settings, StepResult]) -> list[dict[str, Any]]:
    assert not home[1].skipped
    found: list[dict[str, Any]] = json.loads((settings.paths.evaluation / "metrics.json").read_text("utf-8"))
    return found


def _value(records: list[dict[str, Any]], protocol: str, system: str, metric: str, k: int | None) -> float:
    keys = {
        "protocol": protocol,
        "system": system,
        "metric": metric,
        "k": k,
        "label": "ratio",
        "slice": "all",
    }
    (found,) = [r for r in records if all(r[name] == value for name, value in keys.items())]
    return float(found["value"])


def test_every_system_has_every_figure_at_every_k(records: list[dict[str, Any]]) -> None:
    assert {tuple(record) for record in records} == {tuple(FIELDS)}
    whole = [
        r
        for r in records
        if r["slice"] == "all" and r["k"] is not None and r["protocol"] in ("kuairec", "impressions")
    ]
    at_k = {(r["protocol"], r["label"], r["system"], r["metric"], r["k"]) for r in whole}
    metrics = {(label, metric) for label in ("ratio", "duration") for metric in METRICS}
    metrics |= {("any", metric) for metric in OF_LISTS}
    compared = {
        (label, f"{metric}_minus_hybrid")
        for label in ("ratio", "duration")
        for metric in ("precision", "recall", "ndcg", "ndcg_graded", "map")
    }
    expected = {
        (protocol, label, system, metric, k)
        for protocol in ("kuairec", "impressions")
        for system in (*SYSTEMS, *(("truth",) if protocol == "kuairec" else ()))
        for label, metric in (metrics if system == "hybrid" else metrics | compared)
        for k in (10, 20, 50, 100, 200, 500, 1000)
    }
    assert at_k == expected
    assert len(records) == len({tuple(r[name] for name in FIELDS[:6]) for r in records})


def test_no_figure_is_missing_infinite_or_outside_its_interval(records: list[dict[str, Any]]) -> None:
    for record in records:
        assert math.isfinite(record["value"]), record
        if record["metric"] in METRICS:
            assert 0 <= record["value"] <= 1 + 1e-12, record
        if record["low"] is not None:
            assert record["low"] - 1e-12 <= record["value"] <= record["high"] + 1e-12, record
        assert record["users"] > 0


def test_perfect_knowledge_is_the_ceiling(records: list[dict[str, Any]]) -> None:
    """This truth orders by the outcome itself."""
    for k in (10, 50):
        assert _value(records, "kuairec", "truth", "ndcg", k) == pytest.approx(1.0)
        for system in SYSTEMS[:-1]:
            assert _value(records, "kuairec", system, "ndcg", k) < 1.0
    assert _value(records, "kuairec", "truth", "gauc", None) == 1.0


def test_popularity_is_that_of_plays_before_the_cut(
    records: list[dict[str, Any]], settings: Settings
) -> None:
    """Worked out apart, from the table of interactions: plays strictly before the holdout, by views."""
    cut = datetime.fromisoformat(model_registry.champion(settings.paths).manifest["data"]["holdout_from"])
    plays = LOG.interactions
    views = plays.filter(pl.col(columns.EVENT_TIMESTAMP) < cut)[columns.VIDEO_ID].value_counts()
    users = plays[columns.USER_ID].unique().to_numpy().astype(np.uint64)
    reported = users[uniform_hash(users, settings.seed + 1) >= settings.evaluation.tuning_share]
    assert 0 < len(reported) < len(users)
    pairs = (
        plays.filter(pl.col(columns.EVENT_TIMESTAMP) >= cut, pl.col(columns.USER_ID).is_in(reported.tolist()))
        .unique([columns.USER_ID, columns.VIDEO_ID], keep="first", maintain_order=True)
        .join(views, on=columns.VIDEO_ID, how="left")
        .with_columns(pl.col("count").fill_null(-1), liked=pl.col(columns.WATCH_RATIO) > 1.0)
        .sort([columns.USER_ID, "count", columns.VIDEO_ID], descending=[False, True, False])
    )
    by_hand = (
        pairs.filter(pl.col("liked").any().over(columns.USER_ID))
        .group_by(columns.USER_ID)
        .agg(pl.col("liked").head(10).sum() / 10)["liked"]
        .mean()
    )
    assert _value(records, "impressions", "popularity_by_views", "precision", 10) == pytest.approx(by_hand)


def test_tables_hold_the_same_figures(records: list[dict[str, Any]], settings: Settings) -> None:
    table = pl.read_csv(settings.paths.evaluation / "kuairec.csv")
    row = table.filter((pl.col("system") == "hybrid") & (pl.col("k") == 20) & (pl.col("label") == "ratio"))
    assert row["map"].item() == pytest.approx(_value(records, "kuairec", "hybrid", "map", 20))


def test_summary_has_the_main_table(home: tuple[Settings, StepResult]) -> None:
    for protocol in ("kuairec", "impressions"):
        systems = home[1].summary[protocol]["by_label_ratio"]
        assert [row["system"] for row in systems][: len(SYSTEMS)] == list(SYSTEMS)
        assert {"ndcg@10", "precision@10", "recall@10", "map@10"} <= set(systems[0])


def test_a_second_run_is_skipped_and_a_forced_one_gives_the_same_file(settings: Settings) -> None:
    path = settings.paths.evaluation / "metrics.json"
    before = path.read_bytes()
    assert evaluate(settings).skipped
    assert not evaluate(settings, force=True).skipped
    assert path.read_bytes() == before


def _scores(settings: Settings, patch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    # How long a transformer trains, and whether it is of use, is no matter here.
    limit_training(patch, steps=0, epochs=0, warm_up=1, every=1, patience=1)
    patch.setattr(StopDay, "popularity", lambda self, plays, videos: (-1.0, None))
    model = model_registry.champion(settings.paths)
    (impressions,) = [pairs for pairs in protocol_pairs(settings, model) if pairs.protocol == "impressions"]
    models = Models(HybridRanker.load(model.folder), LengthBuckets.load(model.folder))
    # No user chooses: the blend would see outcomes of the holdout, as it may.
    alone = settings.changed({"evaluation.tuning_share": 0.0, "retrieval.sources": "als,sequence"})
    return dict(trial(impressions, store=open_store(), models=models, settings=alone).scores)


def test_no_score_of_the_impressions_protocol_sees_the_holdout(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every outcome of the holdout turned round, features and models made anew give the same scores."""
    before = _scores(settings, monkeypatch)
    assert np.ptp(before["transformer"]) > 0
    cut = datetime.fromisoformat(model_registry.champion(settings.paths).manifest["data"]["holdout_from"])
    turned = LOG.interactions.with_columns(
        pl.when(pl.col(columns.EVENT_TIMESTAMP) >= cut)
        .then(3.0 - pl.col(columns.WATCH_RATIO).clip(0, 3))
        .otherwise(pl.col(columns.WATCH_RATIO))
        .cast(pl.Float32)
        .alias(columns.WATCH_RATIO)
    )
    with pytest.MonkeyPatch.context() as patch:
        other = make_feature_home(
            tmp_path / "home", LOG.with_interactions(turned), patch, more_settings=MODELS
        )
        train(other)
        after = _scores(other, patch)
    for system, scores in before.items():
        np.testing.assert_array_equal(after[system], scores, err_msg=system)


def test_without_fully_observed_pairs_the_impressions_protocol_stands_alone(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(tmp_path / "home", LOG, patch, more_settings=MODELS)
        train(settings)
        assert set(evaluate(settings).summary) == {"model", "impressions"}


def test_the_original_is_reproduced_with_its_leaks_and_without(settings: Settings) -> None:
    size = Size(plays=1000, trees=10)
    found = [*as_published(kuairec_pairs(settings), open_store(), settings, size)]
    original = [vars(figure) for own in found for figure in own]
    assert {r["protocol"] for r in original} == {
        "as-published",
        "as-published, averages as of then",
        "as-published, no leak",
    }
    assert {r["system"] for r in original} == {"classifier", "regressor", "hybrid"}
    for k in (10, 20, 50, 100, 200, 500, 1000):
        # The hybrid orders the classifier's own first k anew: its precision and recall are the classifier's.
        for metric in ("precision", "recall"):
            both = [
                _value(original, "as-published", system, metric, k) for system in ("classifier", "hybrid")
            ]
            assert both[0] == pytest.approx(both[1])
        own, ideal = (
            _value(original, "as-published", "hybrid", name, k) for name in ("ndcg_own_list", "ndcg")
        )
        assert 0 < own <= 1 and 0 < ideal <= 1
    assert 0 < _value(original, "as-published", "classifier", "validation_auc", None) < 1
    assert len(rows_of([figure for own in found for figure in own])) == 9


def test_nothing_that_only_compares_is_trained_or_judged(
    settings: Settings, records: list[dict[str, Any]]
) -> None:
    assert {r["protocol"] for r in records} == {"kuairec", "impressions"}
    assert not {r["system"] for r in records} - {*SYSTEMS, "truth"}
    assert not [*model_registry.champion(settings.paths).folder.glob("*lambdamart*")]


def test_users_that_choose_are_not_reported(settings: Settings, records: list[dict[str, Any]]) -> None:
    (pairs, _) = protocol_pairs(settings, model_registry.champion(settings.paths))
    chosen = pairs.is_tuning(settings.evaluation, settings.seed)
    users = pairs.rows[columns.USER_ID].to_numpy()
    assert set(users[chosen]).isdisjoint(users[~chosen]) and chosen.any()
    reported = {r["users"] for r in records if r["protocol"] == "kuairec" and r["metric"] == "novelty"}
    assert reported == {len(set(users[~chosen]))}


def test_comparison_with_the_hybrid_is_the_difference_of_the_same_users(
    records: list[dict[str, Any]],
) -> None:
    for system in ("random", "als", "blend"):
        difference = _value(records, "impressions", system, "ndcg_minus_hybrid", 10)
        values = [_value(records, "impressions", name, "ndcg", 10) for name in (system, "hybrid")]
        assert difference == pytest.approx(values[0] - values[1], abs=1e-12)
    assert _value(records, "kuairec", "random", "ndcg_minus_hybrid", 10) != 0


def test_slices_cover_users_videos_and_kinds_of_watch(records: list[dict[str, Any]]) -> None:
    impressions = {r["slice"] for r in records if r["protocol"] == "impressions"}
    for family in ("activity", "users", "age", "popularity", "length", "category", "kind"):
        assert any(name.startswith(f"{family}: ") for name in impressions), family
    assert "kind: re-watch" in impressions


def test_the_slices_shares_of_a_list_add_up_to_one(records: list[dict[str, Any]]) -> None:
    for family in ("age", "popularity", "length", "category", "kind"):
        shares = [
            r["value"]
            for r in records
            if (r["protocol"], r["system"], r["metric"], r["k"]) == ("kuairec", "hybrid", "share_of_list", 10)
            and r["slice"].startswith(f"{family}: ")
        ]
        assert sum(shares) == pytest.approx(1.0), family


def test_models_are_judged_by_their_own_predictions(records: list[dict[str, Any]]) -> None:
    for protocol in ("kuairec", "impressions"):
        for system, metric in (
            ("classifier", "expected_calibration_error"),
            ("classifier", "brier"),
            ("regressor", "mae"),
            ("regressor", "rmse"),
        ):
            assert _value(records, protocol, system, metric, None) >= 0
        shares = [
            r["value"]
            for r in records
            if r["protocol"] == protocol and r["metric"] == "reliability_share_of_pairs"
        ]
        assert sum(shares) == pytest.approx(1.0)


def test_trained_on_the_other_label_both_are_reported(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path / "home", LOG, patch, more_settings=MODELS + "data.targets.label = 'duration'\n"
        )
        train(settings)
        facts = evaluate(settings).summary["impressions"]
    assert {"by_label_ratio", "by_label_duration"} <= set(facts)
    assert facts["liked_share"]["duration"] == pytest.approx(0.2, abs=0.08)


def test_users_who_liked_nothing_are_counted_and_no_figure_is_made_up(tmp_path: Path) -> None:
    """A log without any liked play has pairs and users, but no figures."""
    # The first play alone was watched at all: a log without any difference cannot be learnt from.
    is_first = pl.int_range(pl.len()) == 0
    ratio = pl.when(is_first).then(0.5).otherwise(0.0).cast(pl.Float32)
    nothing = LOG.interactions.with_columns(ratio.alias(columns.WATCH_RATIO))
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path / "home", replace(LOG, interactions=nothing), patch, more_settings=MODELS
        )
        train(settings)
        facts = evaluate(settings).summary["impressions"]
    assert facts["users"] > 0 and facts["users_with_a_liked_video"] == 0
    records = json.loads((settings.paths.evaluation / "metrics.json").read_text("utf-8"))
    assert {r["metric"] for r in records if r["label"] != "any"} <= {
        "mae",
        "rmse",
        "brier",
        "expected_calibration_error",
        "reliability_predicted",
        "reliability_observed",
        "reliability_share_of_pairs",
    }


def test_before_training_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match="nightreel train"):
        evaluate(load_settings())
