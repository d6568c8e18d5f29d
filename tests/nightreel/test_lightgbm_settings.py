"""[ranker.lightgbm]: LightGBM's parameters by LightGBM's names; what it does not know is one clear line."""

import os
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import describe, load_settings
from pipelines.rankers.boosting import common_parameters


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("NIGHTREEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_parameters_are_passed_on_by_any_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightreel.toml").write_text(
        "[ranker.lightgbm]\neta = 0.2\nmax_depth = 5\nextra_trees = true\n[ranker.regressor]\nalpha = 0.5\n"
    )
    monkeypatch.setenv("NIGHTREEL_RANKER_LIGHTGBM_PATH_SMOOTH", "1.5")
    settings = load_settings()
    passed = common_parameters(settings, 1_000)
    assert passed["learning_rate"] == 0.2
    assert (passed["max_depth"], passed["extra_trees"], passed["path_smooth"]) == (5, True, 1.5)
    assert settings.ranker.regressor.parameters() == {"learning_rate": 0.109, "alpha": 0.5}
    rows = {row["setting"]: (row["value"], row["from"]) for row in describe(settings)}
    assert rows["ranker.lightgbm.max_depth"] == ("5", "file")
    assert rows["ranker.lightgbm.path_smooth"] == ("1.5", "environment")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_dept = 5", "max_dept: LightGBM has no such parameter"),
        ("random_state = 5", "random_state: set `seed`"),
        ("objective = 'l1'", "objective: nightreel holds it"),
        ("num_leaves = 65", "num_leaves"),
        ("num_leaf = 20\nnum_leaves = 20", "set twice"),
        ("max_depth = {a = 1}", "max_depth: write a number"),
    ],
)
def test_a_wrong_parameter_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "nightreel.toml").write_text(f"[ranker.lightgbm]\n{text}\n")
    with pytest.raises(InputError) as refused:
        load_settings()
    assert says in str(refused.value)
    assert "[ranker.lightgbm]" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_how_many_trees_there_are_is_no_parameter_of_the_regressor_alone(tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text("[ranker.regressor]\nn_estimators = 5\n")
    with pytest.raises(InputError, match=r"n_estimators: set it in \[ranker.lightgbm\]"):
        load_settings()
