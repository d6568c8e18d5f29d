"""Lists of past days as they would have been published, and what `next_day` says of them."""

import gc
import json
import sqlite3
import weakref
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.evaluate import evaluate
from pipelines.hashing import uniform_hash
from pipelines.rankers import HybridRanker
from pipelines.training_frame import read_plays
from scoring.backtest import backtest
from scoring.backtest import night as night_module
from scoring.backtest.night import PastNights
from tests.conftest import Nightreel
from tests.fixtures.scored_home import DAYS, make_scored_home, scoring_log
from tests.fixtures.small_log import FIRST_DAY, SmallLog, midnight

LOG = scoring_log()
JUDGED = [FIRST_DAY + timedelta(days=day) for day in range(DAYS - 3, DAYS)]
POPULARITIES = ["popularity_1_day", "popularity_3_days", "popularity_7_days", "popularity_half_life"]
# Three of the sources; test_no_future.py asks all.
RETRIEVED = "als,ease_played,recent_2d"
SOURCES = [f"source_{name}" for name in RETRIEVED.split(",")]
MODELS = ["classifier", "regressor"]
WHOLE = ["hybrid", "hybrid_shown", *POPULARITIES]
COMPARED = [*MODELS, *SOURCES]
SYSTEMS = [*WHOLE, *COMPARED]
PAIR = [columns.USER_ID, columns.VIDEO_ID]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, nightreel: Nightreel) -> Iterator[tuple[Settings, str]]:
    with pytest.MonkeyPatch.context() as patch:
        settings = _scored(tmp_path_factory.mktemp("backtest") / "home", patch)
        done = nightreel("evaluate", home=settings.home)
        assert done.returncode == 0, done.stderr
        yield settings, done.stdout


def _scored(folder: Path, patch: pytest.MonkeyPatch, log: SmallLog | None = None) -> Settings:
    home = make_scored_home(folder, patch, log).home
    with (home / "nightreel.toml").open("a", encoding="utf-8") as file:
        file.write(f'retrieval.sources = "{RETRIEVED}"\n')
    return load_settings()


def _lists(settings: Settings, day: Any, system: str) -> pl.DataFrame:
    return pl.read_parquet(settings.paths.backtest / day.isoformat() / f"{system}.parquet")


def _records(settings: Settings) -> list[dict[str, Any]]:
    found = json.loads((settings.paths.evaluation / "metrics.json").read_text("utf-8"))
    return [record for record in found if record["protocol"] == "next_day"]


def _value(settings: Settings, **keys: Any) -> float:
    wanted = {"label": "ratio", "slice": "all"} | keys
    (found,) = [r for r in _records(settings) if all(r[name] == value for name, value in wanted.items())]
    return float(found["value"])


def _new_plays(day: Any) -> pl.DataFrame:
    """The day's pairs that had not been played before, and whether any play of each was liked."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    before = LOG.interactions.filter(stamp < midnight(day))
    of_day = LOG.interactions.filter(stamp >= midnight(day), stamp < midnight(day + timedelta(days=1)))
    return (
        of_day.join(before, on=PAIR, how="anti")
        .group_by(PAIR)
        .agg((pl.col(columns.WATCH_RATIO) > 1.0).any().alias("liked"))
    )


def test_the_last_days_have_lists_of_every_system_and_nothing_else(home: tuple[Settings, str]) -> None:
    found = sorted(
        str(path.relative_to(home[0].paths.backtest)) for path in home[0].paths.backtest.rglob("*")
    )
    expected = [day.isoformat() for day in JUDGED]
    expected += [f"{day.isoformat()}/{system}.parquet" for day in JUDGED for system in SYSTEMS]
    assert found == sorted([*expected, "lists.json"])


def test_a_night_is_let_go_of_before_the_next_one(
    home: tuple[Settings, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a night is made from is a gigabyte at KuaiRec's size: two must not be there."""
    monkeypatch.setattr(night_module, "BACKTEST_USERS", 3)
    settings = home[0]
    ranker = HybridRanker.load(model_registry.champion(settings.paths).folder)
    nights = PastNights(read_plays(settings.paths), ranker, midnight(JUDGED[0]), settings)
    made: list[weakref.ref[Any]] = []
    gc.disable()  # which would come round to it some day
    try:
        for night in nights:
            assert all(earlier() is None for earlier in made)
            assert night.sampled is not night
            made += [weakref.ref(night.night), weakref.ref(night.sampled.night)]
    finally:
        gc.enable()
    assert len(made) == 2 * len(JUDGED)


def test_the_hybrid_lists_are_those_that_score_publishes_as_of_that_day(
    home: tuple[Settings, str], nightreel: Nightreel
) -> None:
    settings = home[0]
    for day in JUDGED:
        done = nightreel("score", "--as-of", midnight(day).isoformat(), "--publish", home=settings.home)
        assert done.returncode == 0, done.stderr
        published = _published(settings)
        # Users who have seen everything are only shown what they have seen: nothing of it is judged.
        own = published.filter(pl.col("source") != "rewatch").drop("source").sort("user_id", "rank")
        lists = _lists(settings, day, "hybrid").join(own, on="user_id", how="semi")
        beginning = lists.filter(pl.col("rank") <= settings.lists.top_k).sort("user_id", "rank")
        assert beginning.rows() == own.rows()


def _published(settings: Settings) -> pl.DataFrame:
    with sqlite3.connect(settings.paths.sqlite) as connection:
        rows = connection.execute(
            "SELECT user_id, rank, video_id, source FROM latest_recommendation"
        ).fetchall()
    return pl.DataFrame(
        rows,
        schema={"user_id": pl.Int64, "rank": pl.Int32, "video_id": pl.Int64, "source": pl.String},
        orient="row",
    )


def test_lists_are_longer_than_those_published_and_hold_each_unseen_video_once(
    home: tuple[Settings, str],
) -> None:
    settings = home[0]
    for day in JUDGED:
        played = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < midnight(day)).select(PAIR)
        seen = played.group_by(columns.USER_ID).agg(pl.col(columns.VIDEO_ID).n_unique().alias("videos"))
        not_all = seen.filter(pl.col("videos") < pl.col("videos").max())[columns.USER_ID]
        for system in SYSTEMS:
            lists = _lists(settings, day, system).filter(pl.col(columns.USER_ID).is_in(not_all.implode()))
            assert lists.join(played, on=PAIR, how="semi").is_empty(), system
            assert lists.select(PAIR).is_duplicated().sum() == 0
            ranks = lists.sort("user_id", "rank").group_by("user_id", maintain_order=True).agg("rank")
            assert all(own == list(range(1, len(own) + 1)) for own in ranks["rank"].to_list())
        assert _lists(settings, day, "hybrid")["rank"].max() > settings.lists.top_k


@pytest.mark.parametrize(("system", "days"), list(zip(POPULARITIES, (1, 3, 7), strict=False)))
def test_popularity_is_by_the_liked_plays_of_the_last_days(
    home: tuple[Settings, str], system: str, days: int
) -> None:
    for day in JUDGED:
        stamp = pl.col(columns.EVENT_TIMESTAMP)
        window = LOG.interactions.filter(
            stamp >= midnight(day - timedelta(days=days)),
            stamp < midnight(day),
            pl.col(columns.WATCH_RATIO) > 1.0,
        )
        counts = (
            window[columns.VIDEO_ID].value_counts().sort("count", columns.VIDEO_ID, descending=[True, False])
        )
        order = {video: n for n, video in enumerate(counts[columns.VIDEO_ID].to_list())}
        lists = _lists(home[0], day, system)
        assert lists.height and set(lists[columns.VIDEO_ID]) <= set(order)
        of_users = lists.sort("user_id", "rank").group_by("user_id").agg(columns.VIDEO_ID)
        for videos in of_users[columns.VIDEO_ID].to_list():
            assert [order[video] for video in videos] == sorted(order[video] for video in videos)


@pytest.mark.parametrize("system", SYSTEMS)
def test_micro_recall_is_the_share_of_the_days_liked_pairs_that_the_lists_hold(
    home: tuple[Settings, str], system: str
) -> None:
    found = total = 0
    for day in JUDGED:
        liked = _new_plays(day).filter("liked")
        hits = _lists(home[0], day, system).filter(pl.col("rank") <= 10).join(liked, on=PAIR, how="semi")
        value = _value(home[0], system=system, metric="micro_recall", k=10, slice=f"day: {day.isoformat()}")
        assert value == pytest.approx(hits.height / liked.height)
        found, total = found + hits.height, total + liked.height
    assert _value(home[0], system=system, metric="micro_recall", k=10) == pytest.approx(found / total)


def test_users_are_averaged_over_their_days_and_compared_with_the_hybrid(home: tuple[Settings, str]) -> None:
    settings = home[0]
    means = {}
    for system in ("hybrid", "popularity_1_day"):
        of_users: dict[int, list[float]] = {}
        for day in JUDGED:
            liked = _new_plays(day).filter("liked")
            lists = _lists(settings, day, system).filter(pl.col("rank") <= 10)
            for user, videos in liked.group_by(columns.USER_ID).agg(columns.VIDEO_ID).iter_rows():
                listed = set(lists.filter(pl.col(columns.USER_ID) == user)[columns.VIDEO_ID])
                of_users.setdefault(user, []).append(len(listed & set(videos)) / len(videos))
        means[system] = np.mean([np.mean(values) for values in of_users.values()])
        assert _value(settings, system=system, metric="recall", k=10) == pytest.approx(means[system])
    difference = _value(settings, system="popularity_1_day", metric="recall_minus_hybrid", k=10)
    assert difference == pytest.approx(means["popularity_1_day"] - means["hybrid"])


def test_every_figure_is_finite_and_k_is_never_larger_than_the_catalogue(home: tuple[Settings, str]) -> None:
    records = _records(home[0])
    videos = min(day["videos"] for day in _contents(home[0])["days"])
    assert {r["k"] for r in records} == {k for k in (10, 20, 50, 100, 200) if k <= videos}
    assert {r["label"] for r in records} == {"ratio", "duration", "any"}
    assert {r["slice"] for r in records} == {"all", *(f"day: {day.isoformat()}" for day in JUDGED)}
    plain = {"recall", "precision", "hit_rate", "ndcg", "map", "micro_recall"}
    weighted = {f"{metric}_ips" for metric in plain}
    compared = {f"{metric}_minus_hybrid" for metric in plain | weighted}
    assert {r["metric"] for r in records} == plain | weighted | compared | {"coverage", "gini"}
    for record in records:
        assert np.isfinite(record["value"])
        if not record["metric"].endswith("_minus_hybrid"):
            assert 0 <= record["value"] <= 1 + 1e-12, record
        if record["low"] is not None:
            assert record["low"] - 1e-12 <= record["value"] <= record["high"] + 1e-12, record


def _contents(settings: Settings) -> Any:
    return json.loads((settings.paths.backtest / "lists.json").read_text("utf-8"))


def test_the_first_table_says_whether_the_lists_beat_yesterday(home: tuple[Settings, str]) -> None:
    said = home[1][home[1].index("evaluate: done") :]
    verdict, table, other = (
        said.index(text) for text in ("verdict: the published", "micro_recall@20", "impressions:")
    )
    assert said.index("next day:") < verdict < table < other
    assert "yesterday's popularity" in said and "users without (ratio)" in said
    assert "only what was shown" in said


def test_a_second_run_is_skipped_a_lost_file_alone_is_made_again(
    home: tuple[Settings, str], nightreel: Nightreel
) -> None:
    settings = home[0]
    assert "backtest: nothing to do" in nightreel("evaluate", home=settings.home).stdout
    files = sorted(settings.paths.backtest.rglob("*.parquet"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    files[0].unlink()
    assert backtest(settings).summary["lists_made"] == 1
    assert {path: path.read_bytes() for path in files} == {path: was[1] for path, was in before.items()}
    assert all(path.stat().st_mtime_ns == before[path][0] for path in files[1:])
    assert backtest(settings, force=True).summary["lists_made"] == len(files)
    assert {path: path.read_bytes() for path in files} == {path: was[1] for path, was in before.items()}


def test_no_list_sees_its_own_day(home: tuple[Settings, str], tmp_path: Path) -> None:
    """With what came at and after the first judged day's start turned round, its lists are the same."""
    first = JUDGED[0]
    is_later = pl.col(columns.EVENT_TIMESTAMP) >= midnight(first)
    turned = LOG.interactions.with_columns(
        pl.when(is_later)
        .then(3.0 - pl.col(columns.WATCH_RATIO).clip(0, 3))
        .otherwise(pl.col(columns.WATCH_RATIO))
        .cast(pl.Float32)
        .alias(columns.WATCH_RATIO),
        # And of another video, so that what was seen would differ too.
        pl.when(is_later)
        .then(pl.col(columns.VIDEO_ID).max() + 1 - pl.col(columns.VIDEO_ID))
        .otherwise(pl.col(columns.VIDEO_ID))
        .alias(columns.VIDEO_ID),
    )
    with pytest.MonkeyPatch.context() as patch:
        other = _scored(tmp_path / "home", patch, LOG.with_interactions(turned))
        backtest(other)
    for system in SYSTEMS:
        assert _lists(other, first, system).equals(_lists(home[0], first, system)), system
    for system in set(SYSTEMS) - {"source_fresh"}:
        assert not _lists(other, JUDGED[1], system).equals(_lists(home[0], JUDGED[1], system)), system


def test_a_day_on_which_nobody_liked_anything_new_is_said(nightreel: Nightreel, tmp_path: Path) -> None:
    """Its liked plays become short ones; the other days are judged as before."""
    bad_day = JUDGED[1]
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    on_day = stamp.is_between(midnight(bad_day), midnight(bad_day + timedelta(days=1)), closed="left")
    ratio = pl.col(columns.WATCH_RATIO)
    dull = LOG.interactions.with_columns(
        pl.when(on_day).then(ratio.clip(0, 0.5)).otherwise(ratio).cast(pl.Float32).alias(columns.WATCH_RATIO)
    )
    with pytest.MonkeyPatch.context() as patch:
        other = _scored(tmp_path / "home", patch, LOG.with_interactions(dull))
        done = nightreel("evaluate", home=other.home)
    assert done.returncode == 0, done.stderr
    assert f"{bad_day}: nobody liked a video new to them" in done.stdout
    of_day = [record for record in _records(other) if record["slice"] == f"day: {bad_day}"]
    assert {record["label"] for record in of_day} >= {"any"}
    assert "ratio" not in {record["label"] for record in of_day}
    assert _value(other, system="hybrid", metric="recall", k=10) >= 0


def test_more_days_than_were_held_out_are_refused_with_a_remark(
    home: tuple[Settings, str], nightreel: Nightreel
) -> None:
    done = nightreel("evaluate", home=home[0].home, NIGHTREEL_EVALUATION_BACKTEST_DAYS="4")
    assert done.returncode == 0, done.stderr
    assert "3 of [evaluation] backtest_days = 4" in done.stdout
    assert [day["day"] for day in _contents(home[0])["days"]] == [day.isoformat() for day in JUDGED]


def test_systems_that_are_only_compared_have_lists_and_figures_of_some_users(
    home: tuple[Settings, str], nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home[0]
    assert nightreel("evaluate", home=settings.home).returncode == 0
    before = {(day, system): _lists(settings, day, system) for day in JUDGED for system in SYSTEMS}
    monkeypatch.setattr(night_module, "BACKTEST_USERS", 10)
    said = backtest(settings, force=True).facts.remarks
    assert any("lists and figures of 10 users, by hash" in remark for remark in said)
    evaluate(settings)
    found, differences, total = 0, 0, 0
    for day, said in zip(JUDGED, _contents(settings)["days"], strict=True):
        for system in WHOLE:
            assert _lists(settings, day, system).equals(before[day, system]), system
        users = before[day, "hybrid"][columns.USER_ID].unique().sort()
        drawn = uniform_hash(users.to_numpy().astype(np.uint64), settings.seed)
        # Some users have seen everything, and no list.
        chosen = users.filter(pl.Series(drawn < said["sampled_share"]))
        assert 0 < len(chosen) <= said["sampled_users"] == 10 < len(users) <= said["users"]
        own = pl.col(columns.USER_ID).is_in(chosen.implode())
        for system in COMPARED:
            assert _lists(settings, day, system).equals(before[day, system].filter(own)), system
        liked = _new_plays(day).filter("liked", own)
        hits, hybrid = (
            before[day, system].filter(pl.col("rank") <= 10).join(liked, on=PAIR, how="semi").height
            for system in (SOURCES[0], "hybrid")
        )
        found, differences, total = found + hits, differences + hits - hybrid, total + liked.height
    own_figure = {"system": SOURCES[0], "k": 10}
    assert _value(settings, metric="micro_recall", **own_figure) == pytest.approx(found / total)
    difference = _value(settings, metric="micro_recall_minus_hybrid", **own_figure)
    assert difference == pytest.approx(differences / total)


def test_before_training_the_remedy_is_named(tmp_path: Path, nightreel: Nightreel) -> None:
    done = nightreel("evaluate", home=tmp_path)
    assert done.returncode == 2 and "nightreel train" in done.stderr
