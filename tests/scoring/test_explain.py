"""`nightreel show USER --why VIDEO`: what it says is what the run did, and nothing of after its instant."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.model_rows.joined_features import join_features
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import objective_of
from pipelines.training_frame import FeatureFrame, read_plays
from scoring.database.publish import score_and_publish
from scoring.explain import explain
from scoring.lists.eligibility import find_candidates
from scoring.lists.next_day import next_day_lists, night_of
from scoring.lists.rows import Lists
from tests.conftest import Nightreel
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.scored_home import AS_OF, LATE, NEVER_PLAYED, scoring_log
from tests.fixtures.tables import read_table

SETTINGS = """ranker.objective = "next_day"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.early_stopping_round = 10
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 3
"""
LONGER = {"lists.top_k": 12, "ranker.filter_k": 12}


@dataclass(frozen=True)
class Home:
    """runs: by objective, a run of lists of 6, and one of the same night with lists of 12."""

    settings: Settings
    runs: dict[str, tuple[int, int]]

    def rows(self, run_id: int) -> pl.DataFrame:
        with sqlite3.connect(self.settings.paths.sqlite) as connection:
            query = f"SELECT * FROM recommendation WHERE run_id = {run_id} ORDER BY user_id, rank"
            return pl.read_database(query, connection, infer_schema_length=None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("explain") / "home"
        settings = make_feature_home(folder, scoring_log(), patch, more_settings=SETTINGS)
        train(settings)
        train(settings.changed({"ranker.objective": "shown"}))
        runs = {}
        for name in model_registry.version_names(settings.paths):
            model = model_registry.find(settings.paths, name)
            made = [
                score_and_publish(
                    settings.changed(update), as_of=AS_OF, model_version=name, publish=True
                ).summary["run_id"]
                for update in (LONGER, {})
            ]
            runs[objective_of(model)] = (made[1], made[0])
        assert set(runs) == {"shown", "next_day"}
        yield Home(settings, runs)


@pytest.mark.parametrize("objective", ["shown", "next_day"])
def test_ranks_positions_and_reasons_are_those_of_the_run(home: Home, objective: str) -> None:
    short, long = (home.rows(run) for run in home.runs[objective])
    user = int(short.filter(pl.col("source") == "hybrid")["user_id"][0])
    ranks = dict(short.filter(pl.col("user_id") == user).select("video_id", "rank").iter_rows())
    positions = dict(long.filter(pl.col("user_id") == user).select("video_id", "rank").iter_rows())
    if objective == "next_day":
        positions = _order_of_next_day(home, user)
    played = home_plays(home).filter(pl.col("user_id") == user)["video_id"].to_list()
    listable = find_candidates(home.settings, open_store(), AS_OF).video_id.tolist()
    codes = set()
    every = pl.read_parquet(home.settings.paths.table("video_captions"))["video_id"].sort().to_list()
    # Some that each stage leaves out, as each takes a second.
    kinds = [ranks, set(positions) - set(ranks), set(played) & set(listable), set(every) - set(listable)]
    rest = set(listable) - set(played) - set(positions)
    for video in [video for kind in (*kinds, rest) for video in sorted(kind)[:1]]:
        found = explain(home.settings, user, video, run_id=home.runs[objective][0])
        assert found.remark is None
        assert found.rank == ranks.get(video)
        assert found.listed == (found.reason is None)
        if found.position is not None:
            assert found.position == positions[video]
        code = None if found.reason is None else found.reason.code
        if video not in listable:
            assert code in ("not_listable", "unknown")
        elif video in ranks:
            assert code is None
        elif video in played:
            assert code == "seen"
        elif found.position is not None:
            assert code == "below_k" and f"position {positions[video]};" in found.reason.text
        else:
            assert code in ("filtered", "no_candidate")
        codes.add(code)
    # Of the few candidates of the next day's sources all have room in the list.
    left_out = {"shown": {"below_k", "filtered"}, "next_day": {"no_candidate"}}
    assert {None, "seen", "not_listable", *left_out[objective]} <= codes


def _order_of_next_day(home: Home, user: int) -> dict[int, int]:
    """What is ordered by the code that makes longer lists of the same candidates, for all users at once."""
    settings, store = home.settings, open_store()
    every = find_candidates(settings, store, AS_OF)
    versions = (
        model_registry.find(settings.paths, name) for name in model_registry.version_names(settings.paths)
    )
    model = next(one for one in versions if objective_of(one) == "next_day")
    encoding = HybridRanker.load(model.folder).encoding
    joined = join_features(
        store, encoding, every.user_id, every.video_id, as_of=AS_OF, zone=settings.data.zone
    )
    night = night_of(every, joined, read_plays(settings.paths), AS_OF, settings)
    ranker = NextDayRanker.load(model.folder, "next_day")
    lists = Lists.concatenate(next_day_lists(every, night, ranker, AS_OF, settings, length=12))
    own = lists.user_id == user
    return dict(zip(lists.video_id[own].tolist(), lists.rank[own].tolist(), strict=True))


def home_plays(home: Home) -> pl.DataFrame:
    plays = read_table(home.settings, "interactions")
    return plays.filter(pl.col(columns.EVENT_TIMESTAMP) < AS_OF)


def test_features_are_those_of_feast_and_their_contributions_of_lightgbm(home: Home) -> None:
    run, _ = home.runs["shown"]
    row = home.rows(run).filter(pl.col("source") == "hybrid").row(0, named=True)
    found = explain(home.settings, row["user_id"], row["video_id"], run_id=run)
    model = model_registry.find(home.settings.paths, found.model_version)
    pair = pl.DataFrame({"user_id": [row["user_id"]], "video_id": [row["video_id"]]}).with_columns(
        pl.lit(AS_OF, dtype=pl.Datetime("us", "UTC")).alias("event_timestamp")
    )
    ranker = HybridRanker.load(model.folder)
    frame = FeatureFrame.join(open_store(), pair, home.settings.data.zone)
    matrix = FeatureMatrix(frame, ranker.encoding)[:]
    for name in ("classifier", "regressor"):
        booster = lgb.Booster(model_file=str(model.folder / f"{name}.txt"))
        expected = booster.predict(matrix, pred_contrib=True)[0][:-1]
        own = [one for one in found.features if one.model == name]
        largest = sorted(np.abs(expected), reverse=True)[: len(own)]
        np.testing.assert_allclose([abs(one.contribution) for one in own], largest, rtol=1e-5)
        for one in own:
            at = frame.names.index(one.feature)
            assert one.contribution == pytest.approx(expected[at], rel=1e-5)
            if one.feature not in ranker.encoding.categories and one.value is not None:
                assert one.value == pytest.approx(float(matrix[0, at]), rel=1e-5)


@pytest.mark.parametrize("objective", ["shown", "next_day"])
def test_what_is_near_was_played_before_the_instant(home: Home, objective: str) -> None:
    run, _ = home.runs[objective]
    row = home.rows(run).filter(pl.col("source") == "hybrid").row(0, named=True)
    near = explain(home.settings, row["user_id"], row["video_id"], run_id=run).nearby
    played = home_plays(home).filter(pl.col("user_id") == row["user_id"])
    assert {one.by for one in near} >= ({"als", "item_knn"} if objective == "next_day" else {"als"})
    for one in near:
        assert one.played_at < AS_OF
        last = played.filter(pl.col("video_id") == one.video_id)["event_timestamp"].max()
        assert one.played_at == last
        assert one.nearness > 0


def test_a_user_without_a_play_has_the_list_of_such_users(home: Home) -> None:
    for objective, (run, long) in home.runs.items():
        rows = home.rows(long).filter(pl.col("user_id") == NEVER_PLAYED)
        seventh = int(rows.filter(pl.col("rank") == 7)["video_id"][0])
        found = explain(home.settings, NEVER_PLAYED, seventh, run_id=run)
        assert found.nearby == ()
        # A longer list of the next day's has other candidates, so its seventh may be among the first six.
        if objective == "next_day" and found.rank is not None:
            assert found.rank <= 6
        elif objective == "shown" or found.position is not None:
            assert (found.position, found.reason.code) == (7, "below_k")
        else:
            assert found.reason.code in ("no_candidate", "filtered")
        with pytest.raises(InputError, match=f"User {LATE} has no list in run {run}"):
            explain(home.settings, LATE, seventh, run_id=run)


def test_what_may_not_be_listed_says_by_which_rule(home: Home) -> None:
    run, _ = home.runs["shown"]
    rows = home.rows(run)
    user = int(rows["user_id"][0])
    listed = rows.filter(pl.col("user_id") == user)["video_id"].to_list()
    other = int(rows.filter(~pl.col("video_id").is_in(listed))["video_id"][0])
    with sqlite3.connect(home.settings.paths.sqlite) as connection:
        for video in (other, listed[0]):
            connection.execute("INSERT INTO blocklist (video_id) VALUES (?)", (video,))
    assert explain(home.settings, user, other, run_id=run).reason.code == "blocked"
    # It was not blocked when the list was made.
    assert explain(home.settings, user, listed[0], run_id=run).rank == 1
    with sqlite3.connect(home.settings.paths.sqlite) as connection:
        connection.execute("DELETE FROM blocklist")
    assert explain(home.settings, user, 987_654, run_id=run).reason.code == "unknown"
    aged = home.settings.changed({"lists.exclude.max_age_days": 1})
    found = [explain(aged, user, int(video), run_id=run) for video in rows["video_id"].unique()[:3]]
    assert any(one.reason is not None and "[lists.exclude] max_age_days" in one.reason.text for one in found)


def test_the_command_says_it_as_text_and_json(home: Home, nightreel: Nightreel) -> None:
    run, _ = home.runs["next_day"]
    row = home.rows(run).filter(pl.col("source") == "hybrid").row(0, named=True)
    asked = ("show", str(row["user_id"]), "--why", str(row["video_id"]), "--run", str(run))
    done = nightreel(*asked, "--json", home=home.settings.home)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["listed"], said["rank"], said["objective"]) == (True, row["rank"], "next_day")
    assert said["candidate_sources"] == row["candidate_sources"].split(",")
    assert said["features"][0].keys() == {"model", "feature", "value", "contribution"}
    assert datetime.fromisoformat(said["as_of"]) == AS_OF
    done = nightreel("show", "1234567", "--why", "1", home=home.settings.home)
    assert done.returncode == 2
    assert done.stderr.startswith("nightreel: User 1234567 has no list in run")


def test_an_unknown_run_is_refused(home: Home) -> None:
    with pytest.raises(InputError, match="no such run"):
        explain(home.settings, 1, 1, run_id=12_345)
