"""Tuning: a study continues where it was stopped, is measured on validation users only, and is put to use."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import BusyError, InputError
from nightreel.core.settings import Settings, load_settings
from pipelines.hashing import uniform_hash
from pipelines.rankers.slices import log_days, time_cuts
from pipelines.training_frame import read_plays
from pipelines.tuning import tune
from pipelines.tuning.objective import Measured, Objective
from pipelines.tuning.space import SPACE, Values, as_set
from pipelines.tuning.study import Study, alone
from pipelines.tuning.written import table, with_settings
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import INTERACTION_SCHEMA, make_log
from tests.fixtures.tables import write_table

LOG = make_log(7, users=30, videos=40, plays=3_000)
FEW_TREES = (
    "ranker.lightgbm.num_iterations = 5\nranker.lightgbm.early_stopping_round = 5\n"
    "ranker.filter_k = 5\nevaluation.tuning_share = 0.4\n"
)
RATIO = columns.WATCH_RATIO
TABLE = "ranker.lightgbm"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        made = make_feature_home(
            tmp_path_factory.mktemp("tuning") / "home", LOG, patch, more_settings=FEW_TREES
        )
        _fully_observed().write_parquet(made.paths.table("fully_observed"))
        yield made


def _fully_observed() -> pl.DataFrame:
    random = np.random.default_rng(3)
    users, videos = (sorted(LOG.interactions[key].unique()) for key in (columns.USER_ID, columns.VIDEO_ID))
    return (
        pl.DataFrame({columns.USER_ID: users})
        .join(pl.DataFrame({columns.VIDEO_ID: videos}), how="cross")
        .with_columns(
            pl.lit(None, INTERACTION_SCHEMA[columns.EVENT_TIMESTAMP]).alias(columns.EVENT_TIMESTAMP),
            pl.Series(RATIO, random.gamma(1.2, 0.7, len(users) * len(videos)).astype(np.float32)),
            (5_000 + 300 * pl.col(columns.VIDEO_ID)).alias(columns.VIDEO_DURATION),
        )
    )


def _peak(values: Values, title: str) -> Measured:
    """A quality with its top at 0.1 and 40 leaves; no model is fitted."""
    away = abs(np.log(values[f"{TABLE}.learning_rate"] / 0.1)) + abs(
        np.log(values[f"{TABLE}.num_leaves"] / 40)
    )
    return Measured(1 / (1 + away), 10, {10: 0.5, 100: 0.6}, 1, 2)


def _study(folder: Path) -> Study:
    return Study(folder / "journal.log", "one", seed=5, first=as_set(Settings(home=folder)))


def _run(study: Study, trials: int, minutes: float = 60.0) -> None:
    study.run(_peak, trials=trials, minutes=minutes, after=lambda _: None)


def test_a_stopped_study_ends_as_one_that_was_not(tmp_path: Path) -> None:
    _run(_study(tmp_path / "whole"), 12)
    _run(_study(tmp_path / "stopped"), 3)

    def killed(values: Values, title: str) -> Measured:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _study(tmp_path / "stopped").run(killed, trials=12, minutes=60, after=lambda _: None)
    _run(_study(tmp_path / "stopped"), 12)
    whole, stopped = (table(_study(tmp_path / name).finished()) for name in ("whole", "stopped"))
    assert whole.height == 12
    assert stopped.equals(whole)


def test_what_is_set_is_tried_first_and_the_best_is_never_worse(tmp_path: Path) -> None:
    study = _study(tmp_path)
    _run(study, 15)
    first = study.finished()[0].user_attrs["values"]
    assert first == as_set(Settings(home=tmp_path))
    assert study.best().values[0] >= study.finished()[0].values[0]


def test_trials_stay_within_their_limits(tmp_path: Path) -> None:
    study = _study(tmp_path)
    _run(study, 15)
    for trial in study.finished():
        values = trial.user_attrs["values"]
        assert set(values) == set(SPACE)
        assert all(SPACE[name].low <= value <= SPACE[name].high for name, value in values.items())
        Settings.model_validate({"home": tmp_path, **values})


@pytest.mark.parametrize("end", ["low", "high"])
def test_every_limit_of_the_search_is_a_setting_that_nightreel_takes(tmp_path: Path, end: str) -> None:
    values = {name: getattr(searched, end) for name, searched in SPACE.items()}
    assert (
        Settings.model_validate({"home": tmp_path, **values}).ranker.lightgbm.num_leaves
        == values[f"{TABLE}.num_leaves"]
    )


def test_without_time_one_trial_is_made_a_run(tmp_path: Path) -> None:
    for made in (1, 2):
        study = _study(tmp_path)
        _run(study, 10, minutes=0)
        assert len(study.finished()) == made


def test_enough_trials_are_enough(tmp_path: Path) -> None:
    for _ in range(2):
        study = _study(tmp_path)
        _run(study, 2)
        assert len(study.finished()) == 2


def test_outcomes_of_reported_users_and_of_the_holdout_reach_no_trial(settings: Settings) -> None:
    """And those of users who choose do, as do those of plays that are learnt from."""
    measured = Objective.prepare(settings).measure({"ranker.lightgbm.learning_rate": 0.2}, "")
    observed = _fully_observed()
    plays = read_plays(settings.paths)
    days = log_days(plays[columns.EVENT_TIMESTAMP], settings.data.zone)
    since = time_cuts(days, settings.data, settings.evaluation).holdout_from
    users = observed[columns.USER_ID].to_numpy().astype(np.uint64)
    chooses = pl.Series(uniform_hash(users, settings.seed + 1) < settings.evaluation.tuning_share)
    assert 0 < chooses.sum() < len(chooses)
    is_held_out = pl.col(columns.EVENT_TIMESTAMP) >= since

    def with_other(altered_users: pl.Series, altered_plays: pl.Expr) -> Measured:
        other = pl.when(pl.col(RATIO) > 1).then(pl.lit(0.1)).otherwise(pl.lit(3.0)).cast(pl.Float32)
        observed.with_columns(
            pl.when(altered_users).then(other).otherwise(pl.col(RATIO)).alias(RATIO)
        ).write_parquet(settings.paths.table("fully_observed"))
        altered = pl.when(altered_plays).then(other).otherwise(pl.col(RATIO)).alias(RATIO)
        write_table(settings, "interactions", LOG.interactions.with_columns(altered))
        try:
            return Objective.prepare(settings).measure({"ranker.lightgbm.learning_rate": 0.2}, "")
        finally:
            observed.write_parquet(settings.paths.table("fully_observed"))
            write_table(settings, "interactions", LOG.interactions)

    nobody, never = pl.Series([False] * len(chooses)), pl.lit(False)
    assert with_other(~chooses, is_held_out) == measured
    assert with_other(chooses, never) != measured
    assert with_other(nobody, ~is_held_out) != measured


def test_without_fully_observed_pairs_the_holdout_measures(settings: Settings) -> None:
    path = settings.paths.table("fully_observed")
    kept = path.read_bytes()
    path.unlink()
    try:
        objective = Objective.prepare(settings)
    finally:
        path.write_bytes(kept)
    assert objective.protocol == "impressions"
    users = objective.rows[columns.USER_ID].to_numpy().astype(np.uint64)
    assert (uniform_hash(users, settings.seed + 1) < settings.evaluation.tuning_share).all()
    assert 0 < objective.measure({}, "").quality <= 1


def test_nobody_who_chooses_is_said_so(settings: Settings) -> None:
    with pytest.raises(InputError, match="tuning_share"):
        Objective.prepare(settings.changed({"evaluation.tuning_share": 0.0}))


def test_a_study_leaves_its_table_and_settings_that_load(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tune(settings, trials=2, minutes=60)
    rows = pl.read_csv(settings.paths.tuning / "trials.csv")
    assert rows.height == 2
    assert rows["mean_ndcg"].max() == result.summary["NDCG, mean of @10 and @100"]["best"]
    assert len((settings.paths.tuning / "trials.md").read_text(encoding="utf-8").splitlines()) == 4
    best = result.summary["best settings"]
    before = (settings.home / "nightreel.toml").read_text(encoding="utf-8")
    again = tune(settings, trials=2, minutes=60, write=True)
    assert again.summary["made now"] == 0
    found = load_settings()
    assert {name: found.value(name) for name in best} == best
    assert found.ranker.lightgbm.num_iterations == settings.ranker.lightgbm.num_iterations
    (settings.home / "nightreel.toml").write_text(before, encoding="utf-8")


def test_settings_are_replaced_where_they_stand_and_comments_stay() -> None:
    text = "# mine\nranker.lightgbm.num_leaves = 7  # few\n\n# filter_k = 9\nlists.top_k = 3"
    changed = with_settings(text, {"ranker.lightgbm.num_leaves": 20, "ranker.filter_k": 50})
    assert changed == (
        "# mine\nranker.lightgbm.num_leaves = 20  # few\nranker.filter_k = 50\n"
        "\n# filter_k = 9\nlists.top_k = 3"
    )
    text = "# mine\nleaves = 7\n[ranker]\nfilter_k = 3  # x\n\n[data]\nplays = 'x'\n"
    changed = with_settings(text, {"ranker.lightgbm.num_leaves": 20, "ranker.filter_k": 50})
    assert changed == (
        "# mine\n[ranker]\nfilter_k = 50  # x\n\n[ranker.lightgbm]\nnum_leaves = 20\n[data]\nplays = 'x'\n"
    )


def test_two_do_not_tune_at_once(settings: Settings) -> None:
    with alone(settings.paths.tuning / "lock"), pytest.raises(BusyError, match="tuning"):
        tune(settings, trials=1, minutes=1)
