"""`objective = "auto"`: both objectives compete on past data, `train` says which won and why."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.rankers import train
from pipelines.rankers.objective import has_backtest
from pipelines.training_frame import are_validation_users
from scoring.backtest import backtest
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight

AUTO = """ranker.objective = "auto"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.early_stopping_round = 10
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 8
retrieval.sources = "recent_2d,als"
"""
LOG = make_log(9, users=60, videos=80, plays=6_000)
HOLDOUT_FROM, STOP_FROM = (FIRST_DAY + timedelta(days=day) for day in (6, 4))


def _home(folder: Path, log: SmallLog) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        return make_feature_home(folder / "home", log, patch, more_settings=AUTO)


def _trained(settings: Settings, matrix: pl.DataFrame | None = None) -> Any:
    """What `train` says of the home, beside this fully observed matrix."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_HOME", str(settings.home))
        if matrix is not None:
            matrix.write_parquet(settings.paths.table("fully_observed"))
        return train(settings, force=True).summary


@pytest.fixture(scope="module")
def by_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Any]:
    """A home without a matrix, and what `train` said of it."""
    settings = _home(tmp_path_factory.mktemp("days"), LOG)
    return settings, _trained(settings)


def _on_days(log: SmallLog, first: Any, last: Any, liked: pl.Expr) -> SmallLog:
    """The same plays, but from `first` to before `last` liked are those of which `liked` says so."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    within = stamp.is_between(midnight(first), midnight(last), closed="left")
    ratio = pl.when(within).then(pl.when(liked).then(3.0).otherwise(0.1)).otherwise(columns.WATCH_RATIO)
    return log.with_interactions(log.interactions.with_columns(ratio.cast(pl.Float32).alias("watch_ratio")))


def test_without_a_matrix_the_days_before_the_holdout_choose(by_days: tuple[Settings, Any]) -> None:
    settings, said = by_days
    model = model_registry.champion(settings.paths)
    found = model.manifest["contest"]
    assert found["chosen_on"] == f"{STOP_FROM}, {STOP_FROM + timedelta(days=1)}"
    assert found["judged_on"] == f"the days from {HOLDOUT_FROM} on"
    shown, next_day = (found["ndcg"][name] for name in ("shown", "next_day"))
    assert min(shown, next_day) >= 0 and max(shown, next_day) <= 1 and found["lists"] >= 20
    assert said["objective"] == ("shown" if shown > next_day else "next_day")
    assert f"next_day {next_day:.4f}, of shown {shown:.4f}" in said["why"]
    assert found["chosen_on"] in said["why"] and found["judged_on"] in said["why"]
    assert has_backtest(model.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_HOME", str(settings.home))
        assert {"hybrid_shown", "hybrid_next_day"} <= set(backtest(settings).summary["systems"])


def test_what_is_reported_has_no_part_in_the_choice(by_days: tuple[Settings, Any], tmp_path: Path) -> None:
    """Likes of the holdout turned round: the figures of the contest are the same."""
    last = FIRST_DAY + timedelta(days=30)
    turned = _on_days(LOG, HOLDOUT_FROM, last, pl.col(columns.WATCH_RATIO) <= 1)
    other = _home(tmp_path, turned)
    _trained(other)
    was, now = (model_registry.champion(one.paths).manifest["contest"] for one in (by_days[0], other))
    assert was == now


def _matrix(log: SmallLog) -> pl.DataFrame:
    """Every user with every video, half of them liked, whatever the log says."""
    users = log.interactions[columns.USER_ID].unique().sort()
    videos = log.interactions[columns.VIDEO_ID].unique().sort()
    random = np.random.default_rng(3)
    pairs = pl.DataFrame(users).join(pl.DataFrame(videos), how="cross")
    return pairs.with_columns(
        pl.Series(columns.WATCH_RATIO, random.choice([0.2, 2.0], pairs.height).astype(np.float32)),
        pl.lit(9_000, dtype=pl.Int32).alias(columns.VIDEO_DURATION),
        pl.lit(9_000, dtype=pl.Int32).alias(columns.PLAY_DURATION),
        pl.lit(midnight(FIRST_DAY)).dt.cast_time_unit("us").alias(columns.EVENT_TIMESTAMP),
    )


def test_a_fully_observed_matrix_is_asked_by_its_tuning_users_alone(tmp_path: Path) -> None:
    log = make_log(9, users=150, videos=60, plays=6_000)
    matrix = _matrix(log)
    tuning = pl.Series(
        are_validation_users(
            matrix[columns.USER_ID].to_numpy(), (made := Settings(home=tmp_path)).evaluation, made.seed
        )
    )
    assert matrix.filter(tuning)[columns.USER_ID].n_unique() >= 20
    # Of the others every pair is the opposite.
    ratio = pl.col(columns.WATCH_RATIO)
    turned = matrix.with_columns(
        pl.when(tuning).then(ratio).otherwise(2.2 - ratio).cast(pl.Float32).alias("watch_ratio")
    )
    found = []
    settings = _home(tmp_path, log)
    for of in (matrix, turned):
        said = _trained(settings, of)
        model = model_registry.find(settings.paths, said["version"])
        manifest = model.manifest
        found.append(manifest["contest"] | {"shrinkage": manifest["shrinkage"]})
        assert "the validation users of small_matrix" in said["why"]
        shown, next_day = (found[-1]["ndcg"][side] for side in ("shown", "next_day"))
        assert said["objective"] == ("next_day" if next_day > shown else "shown")
        assert has_backtest(model.folder)
        # The first night of the backtest finds these fits of the sources.
        holdout_from = datetime.fromisoformat(manifest["data"]["holdout_from"])
        cutoffs = {path.name.partition("-")[0] for path in settings.paths.retrieval.iterdir()}
        assert f"{holdout_from:%Y%m%dT%H%M%S}" in cutoffs
    assert found[0] == found[1]
    assert found[0]["lists"] == matrix.filter(tuning)[columns.USER_ID].n_unique()


def test_where_every_play_is_liked_only_the_next_day_can_be_learnt(tmp_path: Path) -> None:
    every = LOG.with_interactions(
        LOG.interactions.with_columns(pl.lit(3.0, dtype=pl.Float32).alias("watch_ratio"))
    )
    said = _trained(_home(tmp_path, every))
    assert said["objective"] == "next_day" and "every play is liked" in said["why"]
    assert json.dumps(said, default=str)
