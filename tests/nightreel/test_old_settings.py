"""Names of settings from before there were sections: understood for one version, with one warning."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from nightreel.core.errors import InputError
from nightreel.core.locks import HOME_WAIT_S
from nightreel.core.settings import Settings, load_settings
from nightreel.core.settings.names import every_setting, keys_of_tables, toml_name
from nightreel.core.settings.old_names import DROPPED, MOVED
from nightreel.operations.stages import RETRIES, RETRY_WAIT_S
from nightreel.operations.supervise import STOP_WITHIN_S
from pipelines.collaborative.fits import FIRST_ITERATIONS, REFIT_ITERATIONS, REGULARIZATION_PLAYS
from pipelines.features.activity import SMOOTHING_PLAYS
from pipelines.labels import LIKE_QUANTILE
from pipelines.rankers.boosting import TREE_ROWS
from pipelines.user_sample import PLAYS_MAX
from scoring.backtest.night import BACKTEST_USERS
from scoring.lists.score import USER_BLOCK
from tests.fixtures.fork_server import forks

OLD = """\
top_k = 7
trees = 9
regressor_learning_rate = 0.2
schedule = "0 3 * * *"
feature_modules = ["mine.py"]

[browse]
thumbnail_url = "https://cdn.example.com/{video_id}.jpg"

[data]
plays = "plays.csv"
"""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("NIGHTREEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _nightreel(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return forks.run(["nightreel", *arguments], cwd=cwd, env={**os.environ, **environment})


def test_a_flat_file_means_what_it_meant(tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text(OLD)
    settings = load_settings()
    assert settings.lists.top_k == 7
    assert settings.ranker.lightgbm.num_iterations == 9
    assert settings.ranker.regressor.learning_rate == 0.2
    assert settings.schedule.cron == "0 3 * * *"
    assert settings.features.modules == (str(tmp_path / "mine.py"),)
    assert settings.browse.thumbnail_url == "https://cdn.example.com/{video_id}.jpg"
    assert settings.data.log is not None and settings.data.log.plays is not None


def test_what_a_dropped_setting_always_is_now_is_what_the_code_has() -> None:
    for name, value in {
        "ranker.tree_rows": TREE_ROWS,
        "data.like_quantile": LIKE_QUANTILE,
        "features.als_iterations": FIRST_ITERATIONS,
        "features.als_regularization": REGULARIZATION_PLAYS,
        "als_refit_iterations": REFIT_ITERATIONS,
        "smoothing_plays": SMOOTHING_PLAYS,
        "lists.user_block_rows": USER_BLOCK,
        "evaluation.backtest_users": BACKTEST_USERS,
        "schedule.stage_retries": RETRIES,
        "schedule.stop_within_s": STOP_WITHIN_S,
        "retry_wait_s": RETRY_WAIT_S,
        "home_wait_s": HOME_WAIT_S,
    }.items():
        assert DROPPED[name] == f"it is always {value:.12g}"
    assert f"more than {PLAYS_MAX / 1e6:.0f} million plays" in DROPPED["ranker.train_sample"]


def test_every_old_name_has_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    known = every_setting(Settings)
    assert set(MOVED.values()) - known.keys() - keys_of_tables(Settings).keys() == {"data"}
    assert not MOVED.keys() & DROPPED.keys()
    assert len({one.variable for one in known.values()}) == len(known)
    monkeypatch.setenv("NIGHTREEL_EARLY_STOPPING_TREES", "3")
    monkeypatch.setenv("NIGHTREEL_DATA", json.dumps({"plays": "p.csv", "length_unit": "seconds"}))
    settings = load_settings()
    assert settings.ranker.lightgbm.early_stopping_round == 3
    assert settings.data.log is not None and settings.data.log.length_unit == "seconds"


def test_one_line_warns_of_all_of_them_and_json_stays_json(tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text(OLD)
    done = _nightreel("settings", "--json", cwd=tmp_path, NIGHTREEL_ENGINE="local")
    assert done.returncode == 0
    rows = {row["setting"]: row for row in json.loads(done.stdout)}
    assert rows["lists.top_k"] | {"meaning": ""} == {
        "setting": "lists.top_k",
        "value": "7",
        "from": "file",
        "meaning": "",
    }
    assert rows["cluster.engine"]["from"] == "environment"
    (line,) = done.stderr.splitlines()
    for new in ("lists.top_k", "ranker.lightgbm.num_iterations", "schedule.cron", "features.modules"):
        assert f"`{toml_name(new)}`" in line
    assert "NIGHTREEL_CLUSTER_ENGINE" in line


def _event_weights() -> dict[str, float]:
    log = load_settings().data.log
    assert log is not None
    return log.event_weights


def test_weights_of_events_by_their_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[data]\nplays = "p.csv"\ncolumns.event = "what"\n[data.worth]\nlike = 1.0\n'
    (tmp_path / "nightreel.toml").write_text(text)
    assert _event_weights() == {"like": 1.0}
    done = _nightreel("settings", cwd=tmp_path)
    assert done.returncode == 0
    assert "`[data] worth` is now `[data] event_weights`" in done.stderr
    (tmp_path / "nightreel.toml").write_text('[data]\nplays = "p.csv"\ncolumns.event = "what"\n')
    monkeypatch.setenv("NIGHTREEL_DATA_WORTH", '{"like": 0.5}')
    assert _event_weights() == {"like": 0.5}


def test_a_candidate_source_by_its_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightreel.toml").write_text('[retrieval]\ncandidates = "als, alike"\n')
    assert load_settings().retrieval.candidates == "als,content_based"
    done = _nightreel("settings", cwd=tmp_path)
    assert done.returncode == 0
    assert "the source `alike` is now `content_based`" in done.stderr
    (tmp_path / "nightreel.toml").unlink()
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_CANDIDATES", "alike,popular")
    assert load_settings().retrieval.candidates == "content_based,popular"


def test_what_is_no_longer_a_setting_is_a_warning_and_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "smoothing_plays = 3\n[lists]\nexplore_after = 3\ntop_k = 7\n[data]\nraw_url = 'file:///logs'\n"
    (tmp_path / "nightreel.toml").write_text(text)
    monkeypatch.setenv("NIGHTREEL_COLD_PLAYS", "3")
    monkeypatch.setenv("NIGHTREEL_SCHEDULE_GRACE_HOURS", "3")
    monkeypatch.setenv("NIGHTREEL_SCHEDULE_METRICS_PORT", "9095")
    settings = load_settings()
    assert settings.schedule.metrics_address == "127.0.0.1:9095"
    assert settings.lists.top_k == 7 and settings.data.raw_url == "file:///logs"
    done = _nightreel("settings", cwd=tmp_path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "`smoothing_plays` is no longer a setting: it is always 20" in line
    assert "`[lists] explore_after` is no longer a setting: it is always 10" in line
    assert "`[data] raw_url` is now `[data] raw_dir`" in line
    assert "NIGHTREEL_COLD_PLAYS is no longer a setting" in line
    assert "NIGHTREEL_SCHEDULE_GRACE_HOURS is no longer a setting: it is always 20" in line


def test_settings_that_are_now_keys_of_a_table_mean_what_they_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightreel.toml").write_text(
        "max_per_author = 2\nals_factors = 8\n[lists]\nexclude_seen_days = 5\nsegments = ['taste']\n"
        "[data]\ndecimal = ','\nlabel = 'duration'\n[features]\nals_refit_days = 3\n"
    )
    monkeypatch.setenv("NIGHTREEL_LISTS_EXCLUDE_SEEN", "false")
    monkeypatch.setenv("NIGHTREEL_DATA_DELIMITER", ";")
    monkeypatch.setenv("NIGHTREEL_LIKE_THRESHOLD", "2")
    settings = load_settings({"lists.exclude.advertisements": True})
    assert settings.lists.max_per.author == 2 and settings.lists.shared.segments == ("taste",)
    excluded = settings.lists.exclude
    assert (excluded.seen, excluded.seen_days, excluded.advertisements) == (False, 5, True)
    assert (settings.data.format.delimiter, settings.data.format.decimal) == (";", ",")
    assert (settings.data.targets.label, settings.data.targets.like_threshold) == ("duration", 2.0)
    assert (settings.features.als.factors, settings.features.als.refit_days) == (8, 3)
    done = _nightreel("settings", cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert "`[lists] exclude_seen_days` is now `[lists.exclude] seen_days`" in line
    assert "NIGHTREEL_LISTS_EXCLUDE_SEEN is now NIGHTREEL_LISTS_EXCLUDE, in JSON" in line


def test_a_dropped_setting_that_acted_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightreel.toml"
    file.write_text('[retrieval]\nals_search = "exact"\n[features]\npair_views = false\n')
    load_settings()
    file.write_text('[retrieval]\nals_search = "approximate"\n')
    with pytest.raises(InputError, match=r"\[retrieval\] als_search.*Write `als_approximate` instead"):
        load_settings()
    file.write_text("pair_views = true\n")
    with pytest.raises(InputError, match=r'Add "pair_views" to \[features\] modules'):
        load_settings()
    file.unlink()
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_ALS_SEARCH", "approximate")
    with pytest.raises(InputError, match=r"NIGHTREEL_RETRIEVAL_ALS_SEARCH.*Write `als_approximate`"):
        load_settings()


def test_what_has_new_names_warns_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text("[lists]\ntop_k = 7\n[ranker.lightgbm]\nnum_leaves = 9\n")
    done = _nightreel("settings", cwd=tmp_path, NIGHTREEL_DATABASE_URL="sqlite:////tmp/x.db")
    assert done.returncode == 0
    assert not done.stderr


def test_an_old_and_a_new_name_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightreel.toml").write_text("top_k = 7\n[lists]\ntop_k = 8\n")
    with pytest.raises(InputError, match="set twice"):
        load_settings()
    (tmp_path / "nightreel.toml").unlink()
    monkeypatch.setenv("NIGHTREEL_TOP_K", "7")
    monkeypatch.setenv("NIGHTREEL_LISTS_TOP_K", "8")
    with pytest.raises(InputError, match="NIGHTREEL_LISTS_TOP_K and NIGHTREEL_TOP_K: both set"):
        load_settings()


def test_a_name_in_the_wrong_place_is_refused_and_the_right_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, meant in (
        ("[ranker]\ntop_k = 3\n", r"\[lists\] top_k"),
        ("[lists]\ntop_kk = 3\n", r"\[lists\] top_k"),
        ("seeds = 3\n", "seed"),
        ("[data]\nthreads = 3\n", "threads"),
    ):
        (tmp_path / "nightreel.toml").write_text(text)
        with pytest.raises(InputError, match=f"no such setting; did you mean `{meant}`"):
            load_settings()
    (tmp_path / "nightreel.toml").unlink()
    monkeypatch.setenv("NIGHTREEL_LISTS_TOPK", "7")
    with pytest.raises(InputError, match=r"NIGHTREEL_LISTS_TOPK: no such .* mean NIGHTREEL_LISTS_TOP_K\?"):
        load_settings()


def test_what_is_no_longer_set_is_left_out_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightreel.toml").write_text("lambdamart_plays = 0\nas_published_plays = 0\n")
    monkeypatch.setenv("NIGHTREEL_AS_PUBLISHED_TREES", "3")
    done = _nightreel("settings", "--json", cwd=tmp_path)
    assert done.returncode == 0 and "lambdamart" not in done.stdout
    for name in ("lambdamart_plays", "as_published_plays", "as_published_trees"):
        assert done.stderr.lower().count(name) == 1, name
    assert "no longer a setting" in done.stderr
