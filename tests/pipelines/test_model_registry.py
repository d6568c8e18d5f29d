"""A model version is whole or not there; the champion is one pointer, and what it points at is verified."""

import json
from datetime import date
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines import model_registry

DAY = date(2020, 9, 5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def _write(text: str):  # type: ignore[no-untyped-def]
    return lambda folder: (folder / "classifier.txt").write_text(text, encoding="utf-8")


def _register(settings: Settings, text: str = "trees", **manifest: object) -> model_registry.ModelVersion:
    return model_registry.register(
        settings.paths, _write(text), data_end=DAY, manifest=manifest or {"features": ["a"]}
    )


def test_version_name_is_the_last_day_and_a_digest_of_the_content(tmp_path: Path) -> None:
    here, there = (_register(Settings(home=tmp_path / name)) for name in ("here", "there"))
    assert here.version == there.version
    assert here.version.startswith("20200905-")
    other_files = _register(Settings(home=tmp_path / "here"), text="other trees")
    other_manifest = _register(Settings(home=tmp_path / "here"), features=["b"])
    assert len({here.version, other_files.version, other_manifest.version}) == 3


def test_manifest_holds_what_was_given_and_the_checksum_of_every_file(settings: Settings) -> None:
    version = _register(settings, features=["a", "b"])
    written = json.loads((version.folder / "manifest.json").read_text(encoding="utf-8"))
    assert written == version.manifest
    assert written["features"] == ["a", "b"]
    assert written["version"] == version.version
    assert list(written["files"]) == ["classifier.txt"]


def test_a_version_that_stands_is_left_as_it_is(settings: Settings) -> None:
    before = (_register(settings).folder / "classifier.txt").stat().st_ino
    assert (_register(settings).folder / "classifier.txt").stat().st_ino == before


def test_a_damaged_version_is_made_again(settings: Settings) -> None:
    version = _register(settings)
    (version.folder / "classifier.txt").write_text("cut off", encoding="utf-8")
    assert (_register(settings).folder / "classifier.txt").read_text(encoding="utf-8") == "trees"


def test_a_failed_write_leaves_nothing(settings: Settings) -> None:
    def fail(folder: Path) -> None:
        (folder / "classifier.txt").write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model_registry.register(settings.paths, fail, data_end=DAY, manifest={})
    assert list(settings.paths.models.iterdir()) == []


def test_what_a_crash_left_is_no_part_of_the_next_version(settings: Settings) -> None:
    left = settings.paths.models / ".partial-version"
    left.mkdir(parents=True)
    (left / "rubbish.txt").write_text("half", encoding="utf-8")
    assert list(_register(settings).manifest["files"]) == ["classifier.txt"]


def test_champion_is_the_promoted_version_until_another_is(settings: Settings) -> None:
    one, two = _register(settings, "one"), _register(settings, "two")
    model_registry.promote(settings.paths, one)
    assert model_registry.champion(settings.paths).version == one.version
    model_registry.promote(settings.paths, two)
    assert model_registry.champion(settings.paths) == two


def test_without_a_model_the_remedy_is_named(settings: Settings) -> None:
    with pytest.raises(InputError, match="Run `nightreel train` first"):
        model_registry.champion(settings.paths)


@pytest.mark.parametrize("damage", ["change", "remove", "manifest", "folder", "pointer"])
def test_a_damaged_champion_is_refused(settings: Settings, damage: str) -> None:
    version = _register(settings)
    model_registry.promote(settings.paths, version)
    if damage == "change":
        (version.folder / "classifier.txt").write_text("trees!", encoding="utf-8")
    elif damage == "remove":
        (version.folder / "classifier.txt").unlink()
    elif damage == "manifest":
        (version.folder / "manifest.json").write_text("{", encoding="utf-8")
    elif damage == "folder":
        version.folder.rename(version.folder.with_name("elsewhere"))
    else:
        (settings.paths.models / "champion.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="train"):
        model_registry.champion(settings.paths)
