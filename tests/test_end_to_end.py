"""The main job, from raw files to SQL, through the real command and plain sqlite3."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import DEMO_USERS
from tests.fixtures.fork_server import forks
from tests.fixtures.processors import PROCESSORS

ROOT = Path(__file__).parents[1]
KUAIRAND = ROOT.parent / "shared" / "kuairand" / "data"
SMALL = ("--users", "40", "--videos", "90", "--interactions", "5000", "--days", "16", "--seed", "3")


def _query(home: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{home / 'data' / 'nightreel.sqlite'}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def _lists(home: Path) -> list[tuple[object, ...]]:
    return _query(home, "SELECT * FROM latest_recommendation ORDER BY user_id, rank")


def _metrics(home: Path, **wanted: object) -> dict[str, float]:
    records = json.loads((home / "data" / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    return {
        record["system"]: record["value"]
        for record in records
        if all(record[name] == value for name, value in wanted.items())
    }


def test_demo_publishes_a_full_list_for_every_user(demo_home: Path) -> None:
    users = _query(demo_home, "SELECT count(DISTINCT user_id) FROM latest_recommendation")[0][0]
    assert users == DEMO_USERS
    short = _query(
        demo_home,
        "SELECT user_id FROM latest_recommendation GROUP BY user_id "
        "HAVING count(*) <> 100 OR min(rank) <> 1 OR max(rank) <> 100 OR count(DISTINCT video_id) <> 100",
    )
    assert short == []


def test_demo_prints_where_the_table_is_and_a_list_with_captions(demo_home: Path) -> None:
    printed = (demo_home / "stdout.txt").read_text(encoding="utf-8")
    assert str(demo_home / "data" / "nightreel.sqlite") in printed
    assert "User 14's list" in printed
    assert "caption" in printed


def test_everything_that_the_demo_wrote_lies_in_its_home(demo_home: Path) -> None:
    assert {path.name for path in demo_home.parent.iterdir()} == {"demo"}
    for name in ("registry.db", "online_store.db", "nightreel.sqlite"):
        assert (demo_home / "data" / name).exists()


def _bounds(home: Path, **of: object) -> dict[str, tuple[float, float]]:
    records = json.loads((home / "data" / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    return {
        record["system"]: (record["low"], record["high"])
        for record in records
        if all(record[name] == value for name, value in of.items())
    }


OF = {"protocol": "kuairec", "metric": "ndcg", "k": 10, "label": "ratio", "slice": "all"}


def _assert_the_hybrid_is_ahead(home: Path, of_truth: float) -> None:
    """NDCG@10 over the fully observed pairs, by 95 % intervals over users (docs/decisions/quality-tests.md).

    Far above lists by chance and by views, above popularity by engagement, not below ALS by more than chance,
    and so near to the truth's own, never above it. The page has the seeds on which this was seen to hold.
    """
    ndcg, bounds = _metrics(home, **OF), _bounds(home, **OF)
    for baseline in ("random", "popularity_by_views"):
        assert bounds["hybrid"][0] >= 1.3 * bounds[baseline][1], (baseline, ndcg, bounds)
    assert ndcg["hybrid"] > ndcg["popularity_by_engagement"], ndcg
    less = _bounds(home, **{**OF, "metric": "ndcg_minus_hybrid"})
    assert less["als"][0] < 0, less
    assert of_truth * ndcg["truth"] <= ndcg["hybrid"] < ndcg["truth"], ndcg


def test_hybrid_beats_popularity_and_als_on_the_held_out_data(demo_home: Path) -> None:
    """As the oldest processor computes it."""
    _assert_the_hybrid_is_ahead(demo_home, 0.85)


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["this one", "the lowest"])
def test_hybrid_beats_popularity_and_als_in_the_whole_demo(processor: str, tmp_path: Path, nightreel) -> None:  # type: ignore[no-untyped-def]
    """Where past data chooses the objective."""
    done = nightreel("demo", "--home", "demo", cwd=tmp_path, fresh=True, **PROCESSORS[processor])
    assert done.returncode == 0, done.stderr
    assert "objective: shown" in done.stdout
    home = tmp_path / "demo"
    _assert_the_hybrid_is_ahead(home, 0.9)
    # Above the upper bound of every list that is the same for all, and user by user by more than chance.
    ndcg, bounds = _metrics(home, **OF), _bounds(home, **OF)
    assert ndcg["hybrid"] > bounds["popularity_by_engagement"][1], (ndcg, bounds)
    assert ndcg["hybrid"] > bounds["als"][0], (ndcg, bounds)
    less = _bounds(home, **{**OF, "metric": "ndcg_minus_hybrid"})
    assert less["popularity_by_engagement"][1] < 0, less


def test_show_prints_stage_scores_captions_and_source(demo_home: Path, nightreel) -> None:  # type: ignore[no-untyped-def]
    done = nightreel("show", "14", "--json", "--limit", "5", home=demo_home)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert {
        "video_id",
        "caption",
        "score",
        "classifier_score",
        "regressor_score",
        "als_score",
        "source",
    } <= set(rows[0])


def test_show_of_an_unknown_user_is_one_line(demo_home: Path, nightreel) -> None:  # type: ignore[no-untyped-def]
    done = nightreel("show", "99999999", home=demo_home)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_second_run_skips_every_step_and_changes_nothing(demo_home: Path, nightreel) -> None:  # type: ignore[no-untyped-def]
    before = _lists(demo_home)
    done = nightreel("run", home=demo_home)
    assert done.returncode == 0, done.stderr
    for step in ("ingest", "features", "train", "evaluate", "score"):
        assert f"{step}: nothing to do" in done.stdout
    assert "yesterday's popularity" in done.stdout.partition("\nVerdict: ")[2]
    assert _lists(demo_home) == before


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory, nightreel) -> Path:  # type: ignore[no-untyped-def]
    """A home with the raw files of a small log, to be copied."""
    home = tmp_path_factory.mktemp("small")
    done = nightreel("synthesize", *SMALL, home=home)
    assert done.returncode == 0, done.stderr
    return home


# Trees and past days enough for each step to have something to do.
FEW = {
    "NIGHTREEL_RANKER_LIGHTGBM_NUM_ITERATIONS": "8",
    "NIGHTREEL_EVALUATION_BACKTEST_DAYS": "1",
    "NIGHTREEL_RETRIEVAL_SOURCES": "als,next_played,recent_2d",
}


# With "auto" past nights are learnt from twice more.
@pytest.mark.parametrize("objective", ["shown", pytest.param("auto", marks=pytest.mark.slow)])
def test_the_same_data_and_seed_give_the_same_rows_by_one_command_or_step_by_step(  # type: ignore[no-untyped-def]
    small_home: Path, tmp_path: Path, nightreel, objective: str
) -> None:
    """Of own data with the fewest files."""
    homes, raw = [tmp_path / name for name in ("one", "two")], tmp_path / "logs"
    for home in homes:
        shutil.copytree(small_home, home, ignore=shutil.ignore_patterns("raw"))
    shutil.copytree(small_home / "raw", raw)
    _keep(
        raw,
        {
            "big_matrix.csv",
            "user_features.csv",
            "item_daily_features.csv",
            "kuairec_caption_category.csv",
        },
    )
    settings = {**FEW, "NIGHTREEL_RANKER_OBJECTIVE": objective, "NIGHTREEL_DATA_RAW_DIR": str(raw)}
    # One of the processes is fresh, so that sets have another order.
    done = nightreel("run", home=homes[0], fresh=True, **settings)
    assert done.returncode == 0, done.stderr
    for step in ("ingest", "features", "feast apply", "train", "evaluate", "score"):
        if step == "feast apply":
            environment = {**os.environ, "NIGHTREEL_HOME": str(homes[1])}
            done = forks.run(step.split(), cwd=ROOT / "feature_repo", env=environment)
        else:
            done = nightreel(step, home=homes[1], **settings)
        assert done.returncode == 0, done.stderr
    one, two = (_lists(home) for home in homes)
    assert one == two
    assert len({row[1] for row in one}) == 40


def _keep(folder: Path, names: Iterable[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lines_of_users(path: Path, step: int) -> str:
    """The lines of every so-many-th user of a file whose first column has users, as they are."""
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join([header, *(line for line in lines if int(line.split(",")[0]) % step == 0)])


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.skipif(not KUAIRAND.is_dir(), reason="the real log ../shared/kuairand is not here")
def test_a_real_log_ends_with_a_list_for_every_user(step: int, tmp_path: Path, nightreel) -> None:  # type: ignore[no-untyped-def]
    """Every file whole but those of users, of which a sixth is enough to see every kind of value."""
    raw = tmp_path / "logs"
    shutil.copytree(KUAIRAND, raw, copy_function=shutil.copyfile)
    for name in ("big_matrix.csv", "small_matrix.csv", "user_features.csv"):
        (raw / name).write_text(_lines_of_users(KUAIRAND / name, step), encoding="utf-8")
    users = len((raw / "user_features.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert users == 664 if step == 1 else users > 90
    # The contest of the objectives takes three quarters of the time.
    short = {"NIGHTREEL_RANKER_OBJECTIVE": "shown", "NIGHTREEL_EVALUATION_BACKTEST_DAYS": "1"}
    done = nightreel("run", home=tmp_path, NIGHTREEL_DATA_RAW_DIR=str(raw), **({} if step == 1 else short))
    assert done.returncode == 0, done.stderr
    assert _query(tmp_path, "SELECT count(DISTINCT user_id) FROM latest_recommendation") == [(users,)]
    assert {"hybrid", "popularity_by_engagement"} <= set(_metrics(tmp_path, metric="ndcg", k=10, slice="all"))
