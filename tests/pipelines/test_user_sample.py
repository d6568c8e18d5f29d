"""A log that is too long to train on whole: some users count, each with the whole history."""

from pathlib import Path

import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines import model_registry, user_sample
from pipelines.backtest_files import Backtest
from pipelines.rankers import train
from pipelines.training_frame import read_plays
from pipelines.user_sample import UserSample
from scoring.backtest import backtest
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log, settings_for

LOG = make_log(7, users=60, videos=40, plays=6_000)
ALWAYS = int(LOG.interactions[columns.USER_ID][0])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_for(tmp_path)
    LOG.write(made)
    made.paths.table("fully_observed").parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({columns.USER_ID: [ALWAYS]}).write_parquet(made.paths.table("fully_observed"))
    return made


def test_a_log_that_fits_is_read_whole(settings: Settings) -> None:
    sample = UserSample.of(settings)
    assert sample.read(settings.paths).equals(read_plays(settings.paths))
    assert sample.remarks() == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_users_count_with_their_whole_history_or_not_at_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """About as many as the plays allow, in order of time; those of the fully observed pairs always."""
    monkeypatch.setattr(user_sample, "PLAYS_MAX", 2_000)
    sample = UserSample.of(settings.changed({"seed": seed}))
    plays, whole = sample.read(settings.paths), read_plays(settings.paths)
    users = plays[columns.USER_ID].unique()
    assert plays.equals(whole.filter(pl.col(columns.USER_ID).is_in(users.implode())))
    assert 1_000 < plays.height < 3_200
    assert ALWAYS in users and sample.holds(whole[columns.USER_ID].to_numpy()).sum() == plays.height
    assert sample.scan(settings.paths).collect().equals(plays)
    assert sample.remarks()[0].startswith("The log has more than 2,000 plays: 3")


def test_the_more_users_are_left_out_the_fewer_stay(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who counts in a longer log has counted in a shorter one: models of consecutive nights compare."""
    monkeypatch.setattr(user_sample, "PLAYS_MAX", 3_000)
    before = set(UserSample.of(settings).read(settings.paths)[columns.USER_ID])
    monkeypatch.setattr(user_sample, "PLAYS_MAX", 1_500)
    assert set(UserSample.of(settings).read(settings.paths)[columns.USER_ID]) < before


def test_training_and_backtest_are_of_the_same_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And say so; what is cut off in time is cut where the whole log is."""
    few = "ranker.lightgbm.num_iterations = 10\nranker.filter_k = 5\n"
    made = make_feature_home(tmp_path / "home", LOG, monkeypatch, more_settings=few)
    whole = train(made)
    of_all = model_registry.champion(made.paths).manifest["data"]
    monkeypatch.setattr(user_sample, "PLAYS_MAX", 3_000)
    result = train(made, force=True)
    assert result.summary["version"] != whole.summary["version"]
    data = model_registry.find(made.paths, str(result.summary["version"])).manifest["data"]
    counted = set(UserSample.of(made).read(made.paths)[columns.USER_ID])
    assert (data["users"], data["users_share"]) == (len(counted), pytest.approx(0.5, abs=0.01))
    assert data["holdout_from"] == of_all["holdout_from"]
    assert "3,000 plays" in result.summary["remarks"][0]
    assert "3,000 plays" in backtest(made).summary["remarks"][0]
    found = Backtest.load(made.paths)
    assert found is not None
    assert {day.users for day in found.days} == {len(counted)}
    lists = pl.read_parquet(made.paths.backtest / "*" / "hybrid.parquet")
    assert set(lists[columns.USER_ID]) == counted
