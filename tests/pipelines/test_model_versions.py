"""Which model makes the lists is said, changed and changed back by commands; never to a damaged one."""

from datetime import date
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.model_versions import list_versions, promote_version
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
                settings.paths,
                _write,
                data_end=date(2020, 9, day),
                manifest={"objective": objective, "data": {"holdout_from": f"2020-09-0{day}T00:00:00Z"}},
            )
        )
    model_registry.promote(settings.paths, found[0])
    return [one.version for one in found]


def test_a_version_is_promoted_and_the_one_before_comes_back(
    settings: Settings, versions: list[str], nightreel: Nightreel
) -> None:
    first, second = versions
    listed = list_versions(settings.paths)
    assert [(row["version"], row["champion"], row["objective"]) for row in listed] == [
        (second, False, "next_day"),
        (first, True, "shown"),
    ]
    done = nightreel("promote", second, home=settings.home)
    assert done.returncode == 0 and f"back: nightreel promote {first}" in done.stdout
    assert model_registry.champion_name(settings.paths) == second
    assert promote_version(settings.paths, first) == second
    assert model_registry.champion_name(settings.paths) == first
    with pytest.raises(InputError, match=f"There are: {first}, {second}"):
        promote_version(settings.paths, "20200101-nothing")


def test_a_damaged_version_is_said_to_be_and_not_promoted(settings: Settings, versions: list[str]) -> None:
    first, second = versions
    (settings.paths.models / second / "classifier.txt").write_text("cut off", encoding="utf-8")
    with pytest.raises(InputError, match="SHA-256 differs"):
        promote_version(settings.paths, second)
    assert model_registry.champion_name(settings.paths) == first
    listed = list_versions(settings.paths)
    assert "SHA-256 differs" in listed[0]["error"] and listed[1]["error"] is None
