"""`nightreel doctor`: what is wrong is said with its remedy, and asking changes nothing."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from nightreel.core.settings import Settings
from nightreel.operations import doctor
from tests.conftest import Nightreel
from tests.fixtures.published_home import publish_small_lists


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"home": tmp_path, "data.raw_dir": tmp_path / "raw"})


def test_a_fresh_home_is_told_what_to_do_and_left_as_it_was(nightreel: Nightreel, tmp_path: Path) -> None:
    done = nightreel("doctor", "--json", home=tmp_path)
    assert done.returncode == 1, done.stderr
    findings = {one["inspection"]: one for one in json.loads(done.stdout)}
    assert [*findings] == [
        "python",
        "packages",
        "settings",
        "extras",
        "data folder",
        "unread files",
        "checksums",
        "disk",
        "memory",
        "database",
        "freshness",
        "outcomes",
    ]
    assert "raw_dir" in findings["data folder"]["remedy"]
    assert "nightreel run" in findings["freshness"]["remedy"]
    assert findings["database"]["state"] == "warning"
    assert [*tmp_path.iterdir()] == []


def test_whatever_is_not_well_has_a_remedy(nightreel: Nightreel, tmp_path: Path) -> None:
    for finding in json.loads(nightreel("doctor", "--json", home=tmp_path).stdout):
        assert (finding["state"] == "ok") == (finding["remedy"] == ""), finding


def test_a_setting_that_cannot_be_read_is_a_finding(nightreel: Nightreel, tmp_path: Path) -> None:
    done = nightreel("doctor", home=tmp_path, NIGHTREEL_LISTS_TOP_K="many")
    assert done.returncode == 1
    assert "NIGHTREEL_LISTS_TOP_K" in done.stdout
    assert done.stderr == ""


def test_an_extra_that_the_settings_want_and_that_is_missing_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_CANDIDATES", "popular,als_approximate")

    def extras() -> doctor.Finding:
        return next(finding for finding in doctor.inspect_all() if finding.inspection == "extras")

    assert (extras().state, extras().found) == ("ok", "search")
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert extras().state == "wrong"
    assert "nightreel[search]" in extras().remedy
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_CANDIDATES", "all")
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_SOURCES", "als,sequence")
    assert (extras().state, extras().found) == ("ok", "sequence")
    monkeypatch.setattr("nightreel.operations.doctor.installation.has_sequence", lambda: False)
    assert extras().state == "warning" and "nightreel[sequence]" in extras().remedy


def test_published_lists_are_fresh(settings: Settings) -> None:
    publish_small_lists(settings)
    assert doctor.database(settings).state == "ok"
    assert doctor.freshness(settings, datetime.now(UTC)).state == "ok"
    years_later = datetime(2040, 1, 1, tzinfo=UTC)
    found = doctor.freshness(settings, years_later)
    assert found.state == "wrong"
    assert "nightreel schedule --once" in found.remedy


def test_an_older_schema_asks_for_the_upgrade(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_small_lists(settings)
    monkeypatch.setattr("scoring.database.schema.SCHEMA_VERSION", 99)
    found = doctor.database(settings)
    assert found.state == "wrong"
    assert "nightreel db upgrade" in found.remedy


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "typer==0.0.1 \\\n    --hash=sha256:00\n"
        "no-such-package==1.0 \\\n    --hash=sha256:00\n"
        'also-not==1.0 ; sys_platform == "nowhere" \\\n    --hash=sha256:00\n'
    )
    found = doctor.packages(lock)
    assert found.state == "wrong"
    assert found.found.startswith("2 of 2")
    assert "no-such-package is missing" in found.found
    assert "not 0.0.1" in found.found


def test_this_environment_has_what_nightreel_requires(tmp_path: Path) -> None:
    assert doctor.packages(tmp_path / "no.lock").state == "ok"


def test_a_folder_without_all_files_names_those_that_lack(settings: Settings) -> None:
    settings.data.raw_dir.mkdir()
    (settings.data.raw_dir / "user_features.csv").write_text("")
    found = doctor.data_folder(settings.data)
    assert found.state == "wrong"
    assert "big_matrix.csv" in found.found
    assert "user_features.csv" not in found.found


@pytest.mark.parametrize(("gib", "state"), [(0.3, "wrong"), (2, "warning"), (16, "ok")])
def test_memory_is_compared_with_what_a_run_takes(
    gib: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = int(gib * 2**30)

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    assert doctor.memory().state == state


@pytest.mark.parametrize(("gib", "state"), [(0.1, "wrong"), (2, "warning"), (16, "ok")])
def test_disk_is_compared_with_what_a_run_takes(
    gib: float, state: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = int(gib * 2**30)

    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage)
    assert doctor.disk(settings.home).state == state
