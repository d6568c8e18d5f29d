"""Settings: where they come from, where the home is, and that no password is shown."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import describe, load_settings, masked_url
from tests.fixtures.fork_server import forks


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("NIGHTREEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_home_is_the_current_folder_without_a_settings_file(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == tmp_path
    assert settings.data.raw_dir == tmp_path / "raw"


def test_home_is_the_folder_of_the_nearest_settings_file_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightreel.toml").write_text('data.raw_dir = "KuaiRec 2.0/data"\nlists.top_k = 7\n')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    settings = load_settings()
    assert settings.home == tmp_path
    assert settings.data.raw_dir == tmp_path / "KuaiRec 2.0" / "data"
    assert settings.lists.top_k == 7


def test_home_from_the_environment_reads_only_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightreel.toml").write_text("lists.top_k = 7\n")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("NIGHTREEL_HOME", str(other))
    assert load_settings().home == other
    assert load_settings().lists.top_k == 100
    (other / "nightreel.toml").write_text("lists.top_k = 9\n")
    assert load_settings().lists.top_k == 9


def test_raw_dir_without_a_setting_follows_a_home_named_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text('home = "elsewhere"\n')
    settings = load_settings()
    assert settings.home == tmp_path / "elsewhere"
    assert settings.data.raw_dir == tmp_path / "elsewhere" / "raw"


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightreel.toml").write_text("lists.top_k = 7\n")
    monkeypatch.setenv("NIGHTREEL_LISTS_TOP_K", "8")
    assert load_settings().lists.top_k == 8
    rows = {row["setting"]: row for row in describe(load_settings())}
    assert rows["lists.top_k"]["from"] == "environment"
    assert rows["ranker.filter_k"]["from"] == "default"


def test_a_table_of_the_environment_wins_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightreel.toml").write_text("[lists.exclude]\nadvertisements = true\nseen_days = 9\n")
    monkeypatch.setenv("NIGHTREEL_LISTS_EXCLUDE", '{"seen_days": 5}')
    settings = load_settings()
    assert (settings.lists.exclude.advertisements, settings.lists.exclude.seen_days) == (True, 5)
    (row,) = [row for row in describe(settings) if row["setting"] == "lists.exclude"]
    assert row["from"] == "environment" and '"seen":true,"seen_days":5' in row["value"]
    monkeypatch.setenv("NIGHTREEL_LISTS_EXCLUDE", '{"seen_days": 0}')
    with pytest.raises(InputError, match=r"NIGHTREEL_LISTS_EXCLUDE.*seen_days.*greater than or equal to 1"):
        load_settings()
    monkeypatch.setenv("NIGHTREEL_LISTS_EXCLUDE", "yes")
    with pytest.raises(InputError, match="NIGHTREEL_LISTS_EXCLUDE"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("top_kk = 7\n", "top_kk"),
        ("lists.top_k = 0\n", "top_k"),
        ('lists.top_k = "many"\n', "top_k"),
        ('data.time_zone = "Mars/Olympus"\n', "Mars/Olympus"),
        ("top_k = \n", "TOML"),
        ("[lists.exclude]\nseen_days = 0\n", "[lists.exclude] seen_days"),
        ("[lists.exclude]\nadvertisement = true\n", "did you mean `[lists.exclude] advertisements`?"),
        ("lists.exclude = 3\n", "[lists.exclude]"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "nightreel.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert "nightreel.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_database_password_is_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", "postgresql+psycopg://app:s3cret@localhost/lists")
    settings = load_settings()
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in json.dumps(describe(settings))
    assert masked_url(settings.sqlalchemy_url) == "postgresql+psycopg://app:***@localhost/lists"
    assert masked_url("postgresql//s3cret") == "***"


def _nightreel(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return forks.run(["nightreel", *arguments], cwd=cwd, env={**os.environ, **environment})


def test_settings_command_masks_the_password_and_prints_json(tmp_path: Path) -> None:
    url = "postgresql://app:s3cret@localhost/lists"
    done = _nightreel("settings", "--json", cwd=tmp_path, NIGHTREEL_DATABASE_URL=url)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr
    rows = {row["setting"]: row for row in json.loads(done.stdout)}
    assert rows["database.url"]["value"] == "postgresql://app:***@localhost/lists"
    assert rows["home"]["value"] == str(tmp_path)


def test_a_bad_setting_ends_the_command_with_code_2_and_no_traceback(tmp_path: Path) -> None:
    done = _nightreel("settings", cwd=tmp_path, NIGHTREEL_LISTS_TOP_K="none")
    assert done.returncode == 2
    assert "NIGHTREEL_LISTS_TOP_K" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["NIGHTREEL_TOPK", "nightreel_top_k_", "NIGHTREEL_METRIC_PORT", "NIGHTREEL_"]
)
def test_an_unknown_name_in_the_environment_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(InputError, match=f"environment variable {name}: no such setting") as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "NIGHTREEL_DEBUG_TRACEBACKS",
        "NIGHTREEL_SERVICE_HOST",
        "NIGHTREEL_SERVICE_PORT_HTTP",
        "NIGHTREEL_PORT",
        "NIGHTREEL_PORT_8380_TCP_ADDR",
        "NIGHTREEL_DB_PORT_5432_TCP",
    ],
)
def test_names_that_are_set_by_nightreel_or_kubernetes_are_no_settings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:80" if name.endswith("_PORT") else "1")
    assert load_settings().lists.top_k == 100
