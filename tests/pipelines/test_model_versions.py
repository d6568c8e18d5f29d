"""Which model makes the lists is said, changed and changed back by commands; never to a damaged one."""

import json
from datetime import date
from pathlib import Path

import pytest

from nightreel.core.settings import Settings
from pipelines import model_registry
from tests.conftest import Nightreel


def _write(folder: Path) -> None:
    (folder / "classifier.txt").write_text("trees", encoding="utf-8")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def versions(settings: Settings) -> list[str]:
    """Two versions, of which the first is the champion."""
    found = []
    for day, objective in ((4, "shown"), (5, "next_day")):
        found.append(
            model_registry.register(
                settings,
                _write,
                data_end=date(2020, 9, day),
                manifest={"objective": objective, "data": {"holdout_from": f"2020-09-0{day}T00:00:00Z"}},
            )
        )
    model_registry.promote(settings, found[0])
    return [one.version for one in found]


def test_a_version_is_promoted_and_the_one_before_comes_back(
    settings: Settings, versions: list[str], nightreel: Nightreel
) -> None:
    first, second = versions
    listed = json.loads(nightreel("models", "--json", home=settings.home).stdout)
    assert [(row["version"], row["champion"], row["objective"]) for row in listed] == [
        (second, False, "next_day"),
        (first, True, "shown"),
    ]
    done = nightreel("promote", second, home=settings.home)
    assert done.returncode == 0 and f"back: nightreel promote {first}" in done.stdout
    assert model_registry.champion_name(settings) == second
    assert nightreel("promote", first, home=settings.home).returncode == 0
    assert model_registry.champion_name(settings) == first
    unknown = nightreel("promote", "20200101-nothing", home=settings.home)
    assert unknown.returncode == 2 and f"There are: {first}, {second}." in unknown.stderr
    (settings.paths.models / second / "classifier.txt").write_text("cut off", encoding="utf-8")
    damaged = nightreel("promote", second, home=settings.home)
    assert damaged.returncode == 2 and "SHA-256 differs" in damaged.stderr
    assert model_registry.champion_name(settings) == first
    listed = json.loads(nightreel("models", "--json", home=settings.home).stdout)
    assert "SHA-256 differs" in listed[0]["error"] and listed[1]["error"] is None
