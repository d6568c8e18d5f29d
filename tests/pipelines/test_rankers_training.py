"""The training step: skipped where nothing changed, repeatable, and a champion that only improves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from nightreel.core.steps import StepResult
from pipelines import model_registry
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.training import TRAIN
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

LOG = make_log(7, users=30, videos=40, plays=3_000)
FEW_TREES = (
    "ranker.lightgbm.num_iterations = 30\nranker.lightgbm.early_stopping_round = 30\nranker.filter_k = 5\n"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("training") / "home", LOG, patch, more_settings=FEW_TREES
        )
        yield settings, train(settings)


@pytest.fixture
def settings(home: tuple[Settings, StepResult]) -> Settings:
    return home[0]


@pytest.fixture
def result(home: tuple[Settings, StepResult]) -> StepResult:
    return home[1]


def test_manifest_says_what_the_model_is_and_what_it_saw(settings: Settings, result: StepResult) -> None:
    manifest = model_registry.champion(settings.paths).manifest
    plays = LOG.interactions
    assert manifest["version"] == result.summary["version"]
    assert columns.ALS_SCORE in manifest["features"] and columns.AUTHOR_ID in manifest["categorical"]
    data = manifest["data"]
    # Nine days: three held out for the backtest, two before them stop the models.
    assert data["early_stopping_from"] == "2020-07-08T16:00:00+00:00"
    assert data["holdout_from"] == "2020-07-10T16:00:00+00:00"
    assert data["fit"] + data["early_stopping"] + data["holdout"] == plays.height
    assert (data["users"], data["videos"]) == (30, plays[columns.VIDEO_ID].n_unique())
    assert manifest["settings"]["data.targets.like_threshold"] == 1.0
    assert set(manifest["metrics"]) == {
        "hybrid_ndcg_at_10",
        "classifier_auc",
        "regressor_mean_absolute_error",
    }
    assert {"lightgbm", "feast"} <= set(manifest["libraries"])
    assert set(manifest["files"]) == {
        "classifier.txt",
        "regressor.txt",
        "labels.json",
        "encoding.json",
        "importances.json",
        "order.json",
        "shrinkage.json",
    }


def test_manifest_tells_nothing_of_the_place_or_the_hour(settings: Settings) -> None:
    text = json.dumps(model_registry.champion(settings.paths).manifest)
    assert str(settings.home) not in text


def test_importances_of_every_feature_are_saved_and_the_first_printed(
    settings: Settings, result: StepResult
) -> None:
    champion = model_registry.champion(settings.paths)
    saved = json.loads((champion.folder / "importances.json").read_text(encoding="utf-8"))
    assert {row["feature"] for row in saved} == set(champion.manifest["features"])
    printed = result.summary["importances"]
    assert 0 < len(printed) <= 15
    assert all(row in saved for row in printed)


def test_the_champion_predicts(settings: Settings) -> None:
    champion = model_registry.champion(settings.paths)
    assert HybridRanker.load(champion.folder).feature_names == tuple(champion.manifest["features"])


def test_a_second_run_is_skipped_and_says_the_same(settings: Settings, result: StepResult) -> None:
    again = train(settings)
    assert again.skipped
    assert again.summary["version"] == result.summary["version"]


def test_every_parameter_of_lightgbm_decides_the_version(settings: Settings) -> None:
    cat_smooth = settings.ranker.lightgbm.model_copy(update={"cat_smooth": 5.0})
    assert TRAIN.settings_in(settings.changed({"ranker.lightgbm": cat_smooth}))["ranker.lightgbm"] == {
        **TRAIN.settings_in(settings)["ranker.lightgbm"],
        "cat_smooth": 5.0,
    }


def test_forced_again_it_makes_the_very_same_version(settings: Settings, result: StepResult) -> None:
    folder = settings.paths.models / str(result.summary["version"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = train(settings, force=True)
    assert not again.skipped
    assert again.summary["version"] == result.summary["version"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in settings.paths.models.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("first", ["stump", "trees"])
def test_a_worse_version_does_not_become_champion_and_a_better_one_does(first: str, tmp_path: Path) -> None:
    """One stump and thirty trees, in both orders: in one of them the better version comes last."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(tmp_path / "home", LOG, patch, more_settings=FEW_TREES)

        def trained(kind: str, *, force: bool = False) -> dict[str, Any]:
            with pytest.MonkeyPatch.context() as own:
                if kind == "stump":
                    own.setenv("NIGHTREEL_RANKER_LIGHTGBM_NUM_ITERATIONS", "1")
                    own.setenv("NIGHTREEL_RANKER_LIGHTGBM_NUM_LEAVES", "2")
                return train(load_settings(), force=force).summary

        before = trained(first)
        after = trained("trees" if first == "stump" else "stump")
        quality = [summary["metrics"]["hybrid_ndcg_at_10"] for summary in (before, after)]
        assert quality[0] != quality[1]
        better = before if quality[0] > quality[1] else after
        assert model_registry.champion(settings.paths).version == better["version"]
        assert after["verdict"].startswith(f"kept {before['version']}") == (better is before)
        again = trained(first, force=True)
        assert again["version"] == before["version"]
        assert model_registry.champion(settings.paths).version == better["version"]


def test_a_champion_that_saw_the_holdout_is_no_measure(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(tmp_path / "home", LOG, patch, more_settings=FEW_TREES)
        later = train(settings).summary
        patch.setenv("NIGHTREEL_EVALUATION_HOLDOUT_DAYS", "4")
        longer = train(load_settings()).summary
        assert "was trained on plays of this holdout" in longer["verdict"]
        assert model_registry.champion(settings.paths).version == longer["version"] != later["version"]


def test_a_damaged_champion_is_replaced(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(tmp_path / "home", LOG, patch, more_settings=FEW_TREES)
        version = str(train(settings).summary["version"])
        (settings.paths.models / version / "classifier.txt").write_text("cut", encoding="utf-8")
        again = train(settings)
        assert not again.skipped
        assert model_registry.champion(settings.paths).version == version


@pytest.mark.parametrize(("threshold", "share"), [(50.0, "0.000%"), (-1.0, "100.000%")])
def test_where_every_play_or_none_is_liked_training_says_so_and_the_regressor_learns(
    threshold: float, share: str, settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(settings.home, tmp_path, dirs_exist_ok=True)
    changed = settings.changed({"home": tmp_path, "data.targets.like_threshold": threshold})
    result = train(changed, force=True)
    assert result.summary["liked_share"] == (0.0 if threshold > 0 else 1.0)
    said = "".join(capsys.readouterr())
    assert f"liked plays are {share}" in said and "like_threshold" in said


def test_before_features_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match="nightreel ingest"):
        train(load_settings())
    assert list(tmp_path.iterdir()) == []
