"""What is related and what is popular, worked out by hand, from plays of days that have ended alone."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines.backtest_files import Backtest, BacktestDay, shared_file
from pipelines.evaluate.shared_lists import next_plays, shared_figures
from pipelines.labels import NO_BUCKETS
from pipelines.text import build_text
from pipelines.training_frame import read_plays
from scoring.lists.popularity import LikedPlays
from scoring.lists.shared.night import shared_lists
from scoring.lists.shared.rows import SharedList
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight, settings_for

LOG = make_log(4, users=30, videos=40, plays=1_500)
AS_OF = midnight(FIRST_DAY + timedelta(days=6))
_SETTINGS = {
    "lists.shared.related_k": 6,
    "lists.shared.popular_k": 8,
    "lists.shared.segments": ("user_active_degree",),
}


def _home(folder: Path, log: SmallLog, **changes: object) -> Settings:
    settings = settings_for(folder, **(_SETTINGS | changes))
    log.write(settings)
    build_text(settings)
    return settings


def _made(settings: Settings, videos: np.ndarray | None = None, as_of: datetime = AS_OF) -> list[SharedList]:
    listable = LOG.video_captions[columns.VIDEO_ID].sort().to_numpy() if videos is None else videos
    return [*shared_lists(listable, as_of, settings, NO_BUCKETS)]


def _beside(log: SmallLog, before: datetime) -> dict[int, dict[int, float]]:
    """How much each video was played beside each other one, play by play."""
    by_user: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for row in log.interactions.sort("user_id", "event_timestamp", "video_id").iter_rows(named=True):
        if row["event_timestamp"] < before:
            by_user[row["user_id"]].append((row["event_timestamp"], row["video_id"]))
    beside: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for plays in by_user.values():
        for n, (_, first) in enumerate(plays):
            for step, (at, second) in enumerate(plays[n + 1 : n + 31]):
                if first != second:
                    weight = round(1_000_000 * 0.9**step * 0.5 ** ((before - at).days / 7)) / 1_000_000
                    beside[first][second] += weight
                    beside[second][first] += weight
    return beside


def test_related_videos_are_those_played_beside_it_and_of_like_text(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG)
    related, _ = _made(settings)
    beside = _beside(LOG, AS_OF)
    texts = pl.read_parquet(settings.paths.feature_source(columns.VIDEO_TEXT))
    known = texts.filter(pl.col("event_timestamp") <= AS_OF).sort("event_timestamp")
    vectors = {row[0]: np.array(row[2:], dtype=float) for row in known.iter_rows() if row[2] is not None}
    ids = LOG.video_captions[columns.VIDEO_ID].to_list()
    sources: set[str] = set()
    for video in ids:
        expected = {}
        for other in ids:
            cosine = 0.0
            if video in vectors and other in vectors and vectors[video].any() and vectors[other].any():
                lengths = np.linalg.norm(vectors[video]) * np.linalg.norm(vectors[other])
                cosine = round(float(vectors[video] @ vectors[other] / lengths), 4)
            cosine = 0.0 if cosine < 0.3 or other == video else cosine
            total = sum(beside[other].values())
            score = beside[video].get(other, 0.0) * (total + 20) ** -0.1 + 0.3 * cosine
            if score > 0:
                both = beside[video].get(other, 0.0) > 0, cosine > 0
                name = {(True, True): "both", (True, False): "played_together"}.get(both, "text")
                expected[other] = (score, name)
        best = sorted(expected, key=lambda one: (-round(expected[one][0], 6), one))[:6]
        rows = related.rows.filter(pl.col("video_id") == video)
        assert rows["rank"].to_list() == list(range(1, len(best) + 1))
        # Scores of one ulp's difference may be ties here and none there.
        assert rows["score"].to_list() == pytest.approx([expected[one][0] for one in best], abs=2e-4)
        assert len({*rows["related_video_id"]} & {*best}) >= len(best) - 1
        sources |= {*rows["source"]}
    assert sources >= {"both", "text"}


def test_only_what_may_be_listed_has_a_list_or_stands_in_one(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG)
    listable = LOG.video_captions[columns.VIDEO_ID].sort().to_numpy()[::3]
    related, popular = _made(settings, listable)
    assert {*related.rows["video_id"], *related.rows["related_video_id"]} <= {*listable.tolist()}
    assert {*popular.rows["video_id"]} <= {*listable.tolist()}
    assert related.expected == len(listable)
    assert (related.rows["video_id"] != related.rows["related_video_id"]).all()


def test_popular_is_what_the_evaluation_compares_with(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG)
    _, popular = _made(settings)
    liked = LikedPlays.count(read_plays(settings.paths), settings.data, NO_BUCKETS)
    faded = dict(zip(liked.video_id.tolist(), liked.faded(AS_OF).tolist(), strict=True))
    best = sorted(faded, key=lambda one: (-faded[one], one))[:8]
    overall = popular.rows.filter(pl.col("segment") == "overall")
    assert overall["video_id"].to_list() == best
    assert overall["score"].to_list() == pytest.approx([faded[one] for one in best], abs=1e-6)


def test_a_segment_is_its_own_likes_and_those_of_a_thousand_others(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG)
    _, popular = _made(settings)
    users = dict(LOG.users.select("user_id", "user_active_degree").iter_rows())
    segments = popular.rows.filter(pl.col("segment") == "user_active_degree")
    assert {*segments["value"]} == {*users.values()}
    liked = LikedPlays.count(read_plays(settings.paths), settings.data, NO_BUCKETS)
    overall = dict(zip(liked.video_id.tolist(), liked.faded(AS_OF).tolist(), strict=True))
    for value in set(users.values()):
        of_value = LOG.interactions.filter(
            pl.col("user_id").is_in([u for u, v in users.items() if v == value])
        )
        counted = LikedPlays.count(of_value, settings.data, NO_BUCKETS)
        own = dict(zip(counted.video_id.tolist(), counted.faded(AS_OF).tolist(), strict=True))
        rows = segments.filter(pl.col("value") == value)
        for row in rows.iter_rows(named=True):
            video = row["video_id"]
            prior = 1_000 * overall[video] / sum(overall.values())
            assert row["score"] == pytest.approx(own.get(video, 0.0) + prior, abs=1e-5)
            assert row["source"] == ("segment" if own.get(video, 0.0) > 0 else "overall")


@pytest.mark.parametrize("hours", [0, 5])
def test_nothing_of_the_day_that_has_not_ended_counts(tmp_path: Path, hours: int) -> None:
    """The two logs differ from the last midnight before the instant on; a night may begin hours after it."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    before, after = (LOG.interactions.filter(part) for part in (stamp < AS_OF, stamp >= AS_OF))
    turned = after.with_columns(
        pl.col(columns.VIDEO_ID).reverse(),
        (4 - pl.col(columns.WATCH_RATIO)).cast(pl.Float32).alias(columns.WATCH_RATIO),
    )
    other = LOG.with_interactions(pl.concat([before, turned]))
    was, now = (
        _made(_home(tmp_path / name, log), as_of=AS_OF + timedelta(hours=hours))
        for name, log in (("was", LOG), ("now", other))
    )
    for one, another in zip(was, now, strict=True):
        assert one.rows.height > 20
        assert one.rows.equals(another.rows)


def test_a_user_file_that_was_delivered_later_counts_later(tmp_path: Path) -> None:
    arrived = AS_OF + timedelta(hours=1)
    users = LOG.users.with_columns(
        pl.lit("new").alias("user_active_degree"),
        pl.lit(arrived).cast(pl.Datetime("us", "UTC")).alias(columns.CREATED_TIMESTAMP),
    )
    settings = _home(tmp_path, replace(LOG, users=users))
    for at, values in ((AS_OF, set()), (arrived, {"new"})):
        listable = LOG.video_captions[columns.VIDEO_ID].sort().to_numpy()
        _, popular = shared_lists(listable, AS_OF, settings, NO_BUCKETS, profiles_at=at)
        assert {*popular.rows.filter(pl.col("segment") != "overall")["value"]} == values


def test_a_segment_that_cannot_be_is_named(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG, **{"lists.shared.segments": ("shoe_size",)})
    with pytest.raises(InputError, match="no column shoe_size; they have user_active_degree"):
        _made(settings)
    users = LOG.users.with_columns(pl.Series("user_active_degree", [str(n) for n in range(LOG.users.height)]))
    many = pl.concat([users.with_columns(pl.col("user_active_degree") + f" {n}") for n in range(50)])
    many = many.with_columns(pl.int_range(pl.len()).alias(columns.USER_ID))
    settings = _home(tmp_path, replace(LOG, users=many))
    with pytest.raises(InputError, match="has 1500 values"):
        _made(settings)


def test_a_long_log_is_learnt_from_whole_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.retrieval.played_together.PLAYS_MAX", 600)
    monkeypatch.setattr("pipelines.retrieval.played_together._PAIRS_MAX", 2_000)
    related, _ = _made(_home(tmp_path, LOG))
    again, _ = _made(_home(tmp_path, LOG))
    assert related.rows.height > 20 and related.rows.equals(again.rows)


def test_both_are_judged_by_what_came_of_the_day(tmp_path: Path) -> None:
    settings = _home(tmp_path, LOG)
    day, until = FIRST_DAY + timedelta(days=6), AS_OF + timedelta(days=1)
    related, popular = _made(settings)
    for one in (related, popular):
        file = shared_file(settings.paths, day, one.kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        one.rows.write_parquet(file)
    judged = BacktestDay(day, AS_OF, until, 30, 40, 1.0, 30)
    Backtest("model", AS_OF, (), (), (judged,), ()).save(settings)
    figures, facts = shared_figures(settings, NO_BUCKETS, "model")
    assert {*facts} == {"related", "popular"}
    value = {
        (one.system, one.metric): one.value for one in figures if one.label == "any" and one.slice == "all"
    }
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    plays = LOG.interactions.filter(stamp >= AS_OF, stamp < until)
    pairs = {*plays.select(columns.USER_ID, columns.VIDEO_ID).rows()}
    listed = {*popular.rows.filter(pl.col("segment") == "overall")["video_id"]}
    assert value["popular", "micro_recall"] == pytest.approx(
        sum(video in listed for _, video in pairs) / len(pairs)
    )
    following = next_plays(plays.with_columns(liked=pl.lit(value=True)))
    nearest = {*related.rows.select("video_id", "related_video_id").rows()}
    hits = [row[1:3] in nearest for row in following.rows()]
    assert value["related", "hit_rate"] == pytest.approx(sum(hits) / len(hits))


def test_plays_of_a_session_follow_each_other_within_half_an_hour() -> None:
    start = datetime(2020, 7, 5, tzinfo=UTC)
    rows = [
        (1, 10, 0, True),
        (1, 11, 30, False),
        (1, 11, 40, True),
        (1, 12, 71, True),
        (1, 13, 72, True),
        (2, 14, 73, False),
    ]
    plays = pl.DataFrame(
        {
            columns.USER_ID: [row[0] for row in rows],
            columns.VIDEO_ID: [row[1] for row in rows],
            columns.EVENT_TIMESTAMP: [start + timedelta(minutes=row[2]) for row in rows],
            "liked": [row[3] for row in rows],
        }
    )
    assert next_plays(plays.reverse()).rows() == [(1, 10, 11, False), (1, 12, 13, True)]
