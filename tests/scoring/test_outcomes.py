"""Attribution: outcomes of each night's lists, counted by hand on a log of a few plays."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import polars as pl
import pytest
from sqlalchemy import insert, select, text, update

from nightreel.core.settings import Settings
from nightreel.operations.metrics import metrics_text
from nightreel.operations.night import night_stages
from nightreel.operations.status import status
from pipelines.labels import NO_BUCKETS
from scoring.database.connection import reading, sql_engine
from scoring.database.history import rollback
from scoring.database.new_run import NewRun
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.tables import (
    list_arm,
    list_exposure,
    list_flip,
    list_night,
    list_outcome,
    list_reach,
    recommendation_run,
)
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates
from scoring.lists.rows import HYBRID, POPULAR, Lists
from scoring.lists.seen_bits import SeenBits
from scoring.outcomes import counting, record_outcomes
from scoring.outcomes.before import Before
from scoring.outcomes.log import Log
from scoring.outcomes.scorecard import paired_difference, scorecard
from tests.conftest import Nightreel
from tests.fixtures.small_log import INTERACTION_SCHEMA
from tests.fixtures.tables import write_table
from tests.nightreel.browse.conftest import served

pytestmark = [pytest.mark.one_database, pytest.mark.current_schema]

FLIP = datetime(2020, 8, 15, 18, 30, tzinfo=UTC)  # 02:30 in Shanghai
AS_OF = datetime(2020, 8, 15, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
K = 12
LISTED = np.arange(101, 101 + K)


def _lists(users: Sequence[int]) -> Lists:
    """Each user's list is the videos 101 to 112 in this order; the first user's is a fallback's."""
    n = len(users) * K
    none = np.full(n, np.nan)
    sources = np.repeat([POPULAR, *[HYBRID] * (len(users) - 1)], K)
    return Lists(
        np.repeat(np.array(users), K),
        np.tile(np.arange(1, K + 1, dtype=np.int32), len(users)),
        np.tile(LISTED, len(users)),
        np.tile(np.arange(K, 0, -1) / K, len(users)),
        none,
        none,
        none,
        sources,
        np.full(n, ""),
    )


def publish_night(settings: Settings, shown_at: datetime, *, users: Sequence[int] = (1, 2, 3, 4)) -> int:
    """Publish these users' lists as if at an instant; the run's id."""
    settings = settings.changed({"lists.top_k": K, "database.keep_runs": 40})
    has_history = np.array([n > 0 for n in range(len(users))])
    everyone = Candidates(
        user_id=np.array(users),
        has_history=has_history,
        video_id=np.arange(101, 131),
        seen=SeenBits.none(len(users), 30),
    )
    run = NewRun(shown_at - 2.5 * HOUR, "20200815-test", f"{shown_at}", known_at=shown_at - 2 * HOUR)
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
        run_id = publish(connection, run, [_lists(users)], everyone, settings).run_id
        with connection.begin():
            moved = update(list_flip).where(list_flip.c.run_id == run_id).values(shown_at=shown_at)
            connection.execute(moved)
            row = update(recommendation_run).where(recommendation_run.c.run_id == run_id)
            connection.execute(row.values(published_at=shown_at))
    return run_id


def play(user: int, video: int, at: datetime, ratio: float = 0.5) -> dict[str, Any]:
    """A play of a video of ten seconds."""
    return {
        "user_id": user,
        "video_id": video,
        "event_timestamp": at,
        "play_duration": round(10_000 * ratio),
        "video_duration": 10_000,
        "watch_ratio": ratio,
    }


def write_log(settings: Settings, plays: Sequence[dict[str, Any]]) -> None:
    """Put the plays where ingest would, and days of the videos 101 to 106, 101 and 102 uploaded of late."""
    settings.paths.tables.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(plays, schema=INTERACTION_SCHEMA).sort("event_timestamp", "user_id", "video_id")
    write_table(settings, "interactions", table)
    days = [
        {"video_id": video, "date": (AS_OF - 2 * DAY).date(), "upload_dt": (AS_OF - age * DAY).date()}
        for video, age in ((101, 3), (102, 3), (103, 90), (104, 90), (105, 90), (106, 90))
    ]
    write_table(settings, "video_daily", pl.DataFrame(days))


YESTERDAY = [
    # Of the local day before as_of: 120 is liked by two, 111 by one, 101 by one; user 2 has seen 120.
    play(2, 120, AS_OF - 5 * HOUR, 2.0),
    play(9, 120, AS_OF - 5 * HOUR, 2.0),
    play(9, 111, AS_OF - 4 * HOUR, 2.0),
    play(9, 101, AS_OF - 4 * HOUR, 2.0),
    *[play(3, 200 + n, AS_OF - 6 * HOUR) for n in range(25)],
    # Known as happened, yet not before as_of: no part of what was popular.
    *[play(9, 130, AS_OF + HOUR, 3.0)] * 1,
]
SHOWN = [
    play(1, 101, FLIP + HOUR, 0.5),  # rank 1: played, not liked
    play(1, 101, FLIP + 2 * HOUR, 2.0),  # again, and liked now
    play(2, 111, FLIP + 3 * HOUR, 2.0),  # rank 11; popularity, without 120, has it second after 101
    play(3, 120, FLIP + 4 * HOUR, 2.0),  # in no list; popularity's first for user 3
    play(8, 101, FLIP + 4 * HOUR, 2.0),  # has no list
    play(4, 101, FLIP - timedelta(microseconds=1), 2.0),  # before the flip
    play(4, 101, FLIP + DAY, 2.0),  # a day has passed
]


def rows(settings: Settings, table: Any) -> list[dict[str, Any]]:
    """All rows of a table, in the order of its key."""
    with reading(settings) as connection:
        query = select(table).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def cells(settings: Settings) -> dict[tuple[str, int, str], tuple[int, ...]]:
    """listed, played, liked, watch_ms by source, first rank and segment."""
    return {
        (row["source"], row["rank_from"], row["segment"]): tuple(
            row[name] for name in ("listed", "played", "liked", "watch_ms")
        )
        for row in rows(settings, list_outcome)
    }


def reach(settings: Settings) -> dict[tuple[str, int], tuple[int, ...]]:
    """Users of lists, of popularity, of one alone, by hit and depth."""
    names = ("users_list", "users_popularity", "list_only", "popularity_only")
    return {
        (row["hit"], row["depth"]): tuple(row[name] for name in names) for row in rows(settings, list_reach)
    }


def test_lists_meet_the_plays_of_the_day_after_their_flip(settings: Settings) -> None:
    publish_night(settings, FLIP)
    write_log(settings, YESTERDAY + SHOWN)
    record_outcomes(settings, FLIP + 3 * DAY)
    assert cells(settings) == {
        ("popular", 1, "new"): (10, 1, 1, 25_000),
        ("popular", 11, "new"): (2, 0, 0, 0),
        ("hybrid", 1, "cold"): (10, 0, 0, 0),  # user 2, with one play before
        ("hybrid", 11, "cold"): (2, 1, 1, 20_000),
        ("hybrid", 1, "warm"): (10, 0, 0, 0),  # user 3
        ("hybrid", 11, "warm"): (2, 0, 0, 0),
        ("hybrid", 1, "new"): (10, 0, 0, 0),  # user 4
        ("hybrid", 11, "new"): (2, 0, 0, 0),
    }
    # Popularity is 120, 101, 111. Both reach user 1 at 10, and user 2 at 12; it alone 2 at 10, and user 3.
    assert reach(settings) == {
        ("liked", 10): (1, 3, 0, 2),
        ("liked", 12): (2, 3, 0, 1),
        ("played", 10): (1, 3, 0, 2),
        ("played", 12): (2, 3, 0, 1),
    }
    (night,) = rows(settings, list_night)
    assert (night["users"], night["active_users"], night["plays"], night["k"]) == (4, 3, 4, 12)
    assert (night["rows"], night["dated_rows"], night["fresh_rows"]) == (48, 24, 8)
    # 120, 111, 101, 25 others, and 102 to 106 by their days.
    assert (night["videos_listed"], night["videos_known"]) == (12, 33)
    assert (night["shown_from"], night["shown_until"]) == (FLIP, FLIP + DAY)


def test_popularitys_ranks_of_few_users_at_a_time_are_those_of_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users come in ascending order, each with the ranks of a list without what they have seen."""
    write_log(settings, YESTERDAY + SHOWN)
    before = Before(settings, AS_OF, None)
    pairs = [(3, 120, True), (2, 111, True), (1, 111, False), (1, 101, True), (2, 120, False), (9, 102, True)]
    asked = pl.DataFrame(pairs, schema=["user_id", "video_id", "liked"], orient="row")
    # Popularity is 120, 101, 111; user 2 has seen 120.
    expected = [(1, True, 2), (1, False, 3), (2, True, 2), (3, True, 1)]
    for cells_at_a_time in (100_000_000, 6, 1):
        monkeypatch.setattr("scoring.outcomes.log._CELLS_AT_A_TIME", cells_at_a_time)
        assert Log(settings).popular_ranks(asked, before, AS_OF, NO_BUCKETS).rows() == expected


def display(
    user: int, video: int, at: datetime, position: int | None = None, run: int | None = 1
) -> dict[str, Any]:
    """A display of a video."""
    return {"user_id": user, "video_id": video, "event_timestamp": at, "position": position, "run": run}


def write_exposures(settings: Settings, displays: Sequence[dict[str, Any]]) -> None:
    """Put the displays where ingest would."""
    kinds = {"user_id": pl.Int64, "video_id": pl.Int64, "event_timestamp": pl.Datetime("us", "UTC")}
    table = pl.DataFrame(displays, schema=kinds | {"position": pl.Int32, "run": pl.Int32})
    write_table(settings, "exposures", table.sort("event_timestamp"))


def test_with_an_exposure_log_plays_count_that_followed_a_display_of_the_run(settings: Settings) -> None:
    """Not what was played before it, after a day, or after another run's display; late ones still do."""
    publish_night(settings, FLIP)
    plays = [
        play(1, 101, FLIP + HOUR, 2.0),  # before its display
        play(1, 102, FLIP + 3 * HOUR, 0.5),
        play(1, 102, FLIP + 4 * HOUR, 2.0),
        play(2, 103, FLIP + 5 * HOUR, 2.0),  # another run's display came last
        play(3, 111, FLIP + DAY + 5 * HOUR, 2.0),  # more than a day after the flip, not after the display
        play(4, 101, FLIP + DAY + 3 * HOUR, 2.0),  # a day after the display
        play(4, 120, FLIP + 3 * HOUR, 2.0),  # displayed, and in no list
    ]
    write_log(settings, YESTERDAY + plays)
    record_outcomes(settings, FLIP + 3 * DAY)
    assert [row["shown"] for row in rows(settings, list_outcome)] == [None] * 8
    write_exposures(
        settings,
        [
            display(1, 101, FLIP + 2 * HOUR, 1),
            display(1, 102, FLIP + 2 * HOUR, 2),
            display(1, 102, FLIP + 2.5 * HOUR, 7),
            display(2, 103, FLIP + 2 * HOUR, 1),
            display(2, 103, FLIP + 3 * HOUR, 1, run=77),
            display(3, 111, FLIP + 6 * HOUR, 500, run=None),
            display(3, 110, FLIP + 6 * HOUR, run=None),
            display(3, 109, FLIP + DAY + HOUR, run=None),  # when the run was no longer shown
            display(4, 101, FLIP + 2 * HOUR, 1),
            display(4, 120, FLIP + 2 * HOUR, 3),
        ],
    )
    assert record_outcomes(settings, FLIP + 3 * DAY).summary["runs"] == [1]
    counted = {
        (row["segment"], row["rank_from"]): [row[name] for name in ("shown", "played", "liked", "watch_ms")]
        for row in rows(settings, list_outcome)
        if row["source"] == "hybrid"
    }
    of_first = next(row for row in rows(settings, list_outcome) if row["source"] == "popular")
    assert [of_first[name] for name in ("shown", "played", "liked", "watch_ms")] == [2, 1, 1, 25_000]
    assert counted["cold", 1] == [1, 0, 0, 0]
    assert counted["warm", 1] == [1, 0, 0, 0]  # 110
    assert counted["warm", 11] == [1, 1, 1, 20_000]  # 111
    assert counted["new", 1] == [1, 0, 0, 0]  # 101, of user 4
    positions = [tuple(row.values())[1:] for row in rows(settings, list_exposure)]
    assert positions == [(0, 1, 0, 0), (1, 3, 0, 0), (2, 1, 0, 0), (7, 1, 1, 1), (101, 1, 1, 1)]
    (night,) = rows(settings, list_night)
    assert [night[name] for name in ("exposures", "other_exposures", "exposed_users")] == [7, 1, 4]
    # What popularity is compared with is counted as before: plays of the day, wherever they came from.
    assert reach(settings)["liked", 10] == (2, 2, 1, 1)
    (facts,) = scorecard(settings)["nights"]
    assert (facts["shown"], facts["played"], len(facts["positions"])) == (6, 2, 5)
    assert "nightreel_outcome_shown 6.0\n" in metrics_text(settings, FLIP + 3 * DAY)
    for url in served(settings):
        with urlopen(f"{url}/scorecard", timeout=30) as response:
            section = response.read().decode().partition('<section id="positions">')[2]
        assert "101 and more" in section and "unknown" in section
    assert record_outcomes(settings, FLIP + 4 * DAY).skipped


def test_the_next_flip_ends_a_nights_time_and_a_rollback_begins_it_again(settings: Settings) -> None:
    first = publish_night(settings, FLIP)
    second = publish_night(settings, FLIP + 4 * HOUR)
    write_log(
        settings,
        [play(1, 101, FLIP + n * HOUR, 2.0) for n in (1, 3)]
        + [play(2, 101, FLIP + 5 * HOUR, 2.0), play(3, 101, FLIP + 9 * HOUR, 2.0)],
    )
    record_outcomes(settings, FLIP + 3 * DAY)
    assert [night["active_users"] for night in rows(settings, list_night)] == [1, 2]
    assert rollback(settings, first) == second
    with sql_engine(settings).begin() as connection:
        back = update(list_flip).where(list_flip.c.shown_at > FLIP + DAY).values(shown_at=FLIP + 8 * HOUR)
        assert connection.execute(back).rowcount == 1
    record_outcomes(settings, FLIP + 3 * DAY)
    assert [night["active_users"] for night in rows(settings, list_night)] == [2, 1]


def test_nothing_of_after_now_counts(settings: Settings) -> None:
    publish_night(settings, FLIP)
    write_log(settings, YESTERDAY + SHOWN)
    record_outcomes(settings, FLIP + 2 * HOUR)
    (night,) = rows(settings, list_night)
    assert (night["plays"], night["shown_until"]) == (1, FLIP + 2 * HOUR)
    record_outcomes(settings, FLIP - HOUR)
    assert rows(settings, list_night) == [night]


def test_the_same_again_changes_nothing_and_late_plays_do(settings: Settings) -> None:
    publish_night(settings, FLIP)
    write_log(settings, YESTERDAY + SHOWN)
    assert record_outcomes(settings, FLIP + 3 * DAY).summary["runs"] == [1]
    before = [rows(settings, table) for table in (list_night, list_outcome, list_reach)]
    again = record_outcomes(settings, FLIP + 4 * DAY)
    assert again.skipped and again.summary["runs"] == []
    assert [rows(settings, table) for table in (list_night, list_outcome, list_reach)] == before
    write_log(settings, [*YESTERDAY, *SHOWN, play(4, 105, FLIP + 20 * HOUR, 1.5)])
    record_outcomes(settings, FLIP + 5 * DAY)
    assert cells(settings)["hybrid", 1, "new"] == (10, 1, 1, 15_000)
    assert reach(settings)["liked", 10] == (2, 3, 1, 2)


def test_figures_outlive_the_runs_that_are_pruned(settings: Settings) -> None:
    publish_night(settings, FLIP)
    write_log(settings, YESTERDAY + SHOWN)
    record_outcomes(settings, FLIP + DAY)
    with sql_engine(settings).begin() as connection:
        for name in ("published_run", "recommendation", "recommendation_run"):
            connection.execute(text(f"DELETE FROM {name}"))
    record_outcomes(settings, FLIP + 2 * DAY)
    assert [night["run_id"] for night in rows(settings, list_night)] == [1]


def test_the_paired_interval_is_that_of_its_source() -> None:
    """Against the formula by hand; and with simulated users it covers the truth as often as it says."""
    estimate, low, high = paired_difference(9, 1, 100)
    one, other = 10 / 102, 2 / 102
    half = 1.959964 * math.sqrt((one + other - (one - other) ** 2) / 102)
    assert estimate == pytest.approx(0.08)
    assert (low, high) == pytest.approx((one - other - half, one - other + half), abs=1e-6)
    random = np.random.default_rng(3)
    drawn = random.multinomial(200, [0.08, 0.03, 0.89], size=2_000)
    covered = [low <= 0.05 <= high for _, low, high in (paired_difference(b, c, 200) for b, c, _ in drawn)]
    assert 0.93 < np.mean(covered) < 0.975
    assert paired_difference(0, 0, 0)[0] == 0


def _usual_nights(settings: Settings, n: int, *, last_played: int) -> datetime:
    """Nights of 60 users, of whom 40 play and 20 (in the last night another number) are reached; now."""
    users = range(1, 61)
    plays = []
    for night in range(n):
        at = FLIP + night * DAY
        publish_night(settings, at, users=users)
        reached = last_played if night == n - 1 else 20 + night % 2
        plays += [play(user, 103 if user <= reached else 500, at + 5 * HOUR, 2.0) for user in users[:40]]
        plays.append(play(999, 500, at + 23.9 * HOUR))
    write_log(settings, plays)
    return FLIP + n * DAY


@pytest.mark.parametrize(("last_played", "is_odd"), [(20, False), (2, True)])
def test_a_night_out_of_the_band_is_a_remark_and_a_warning(
    settings: Settings, last_played: int, is_odd: bool, nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However the share of fresh videos falls from night to night, it is no matter here.
    monkeypatch.setattr(counting, "FRESH_DAYS", 60)
    now = _usual_nights(settings, 7, last_played=last_played)
    remarks = record_outcomes(settings, now).summary["remarks"]
    assert any("run 7: reach at 10 (liked) is 5.0 %, below the" in line for line in remarks) == is_odd
    assert bool(remarks) == is_odd
    assert bool(status(settings, now).facts.get("out_of_band")) == is_odd
    assert f"nightreel_outcome_out_of_band {len(remarks)}.0\n" in metrics_text(settings, now)
    environment = {"NIGHTREEL_SCHEDULE_MAX_DATA_AGE_HOURS": "0"}
    if settings.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = settings.database.url.get_secret_value()
    done = nightreel("doctor", "--json", home=settings.home, **environment)
    (found,) = [one for one in json.loads(done.stdout) if one["inspection"] == "outcomes"]
    assert found["state"] == ("warning" if is_odd else "ok")
    assert ("run 7: reach at 10 (liked) is 5.0 %" in found["found"]) == is_odd


def test_the_command_shows_the_nights_and_their_figures(settings: Settings, nightreel: Nightreel) -> None:
    publish_night(settings, FLIP)
    write_log(settings, YESTERDAY + SHOWN)
    environment = {"NIGHTREEL_HOME": str(settings.home)}
    if settings.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = settings.database.url.get_secret_value()
    none = nightreel("scorecard", **environment)
    assert none.returncode == 0 and "no night has been counted" in none.stdout
    done = nightreel("scorecard", "--update", "--json", **environment)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    (night,) = card["nights"]
    assert (night["listed"], night["played"], night["liked"], night["watch_ms"]) == (48, 2, 2, 45_000)
    at_10 = next(one for one in night["reach"] if (one["hit"], one["depth"]) == ("liked", 10))
    assert (at_10["share_list"], at_10["share_popularity"]) == pytest.approx((1 / 3, 1))
    assert at_10["difference"] == pytest.approx(-2 / 3)
    assert at_10["low"] < at_10["difference"] < at_10["high"]
    assert (night["fresh"], night["coverage"]) == pytest.approx((8 / 24, 12 / 33))
    table = nightreel("scorecard", **environment)
    assert "-66.7 [" in table.stdout and "2020-08-15 18:30" in table.stdout
    assert scorecard(settings, days=1)["nights"][0]["run_id"] == 1


def test_a_database_that_is_not_there_is_one_line(tmp_path: Any, nightreel: Nightreel) -> None:
    done = nightreel("scorecard", home=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_the_night_counts_after_ingest_and_before_it_publishes(settings: Settings) -> None:
    names = [stage.name for stage in night_stages(settings)]
    assert names.index("ingest") < names.index("outcomes") < names.index("score")


def _arm(run_id: int, arm: str, position: int, liked: int) -> dict[str, Any]:
    """What 20 active users of an arm made of a run's lists."""
    of_arm = {"salt": "s", "share": 0.5, "model_version": "m", "users": 30, "active_users": 20}
    counts = {"reached": 15, "reached_liked": 12, "played": 40, "played_squared": 90}
    likes = {"liked": liked, "liked_squared": liked * liked // 20}
    return {"run_id": run_id, "arm": arm, "position": position} | of_arm | counts | likes


def test_arms_stand_in_page_and_gauges_with_all_their_nights(settings: Settings) -> None:
    """Whatever days are asked for: an interval that may be looked at each night counts all looks."""
    now = _usual_nights(settings, 4, last_played=20)
    record_outcomes(settings, now)
    arms = [_arm(run, name, at, 30 + 60 * at) for run in (2, 3, 4) for at, name in enumerate(("a", "b"))]
    with sql_engine(settings).begin() as connection:
        connection.execute(insert(list_arm), arms)
    first, second = scorecard(settings, days=1)["arms"]
    assert (first["nights"], first["against_first"], second["liked"]) == (3, {}, 4.5)
    found = second["against_first"]["liked"]
    assert found["estimate"] == pytest.approx(3) and found["low"] > 0 and found["looks"] == 3
    gauges = metrics_text(settings, now)
    assert 'nightreel_arm_liked{arm="b"} 4.5\n' in gauges
    assert 'nightreel_arm_difference{arm="b",figure="liked"} 3.0\n' in gauges
    assert f'nightreel_arm_difference_low{{arm="b",figure="liked"}} {found["low"]!r}\n' in gauges
    for url in served(settings):
        with urlopen(f"{url}/scorecard?days=1", timeout=30) as response:
            page = response.read().decode()
        with urlopen(f"{url}/api/v1/scorecard", timeout=30) as response:
            assert json.load(response)["arms"][1]["arm"] == "b"
    section = page.partition('<section id="arms">')[2].partition("</section>")[0]
    assert "+3.00 [+" in section and "Rows liked" in section


def test_the_page_has_each_night_and_its_trend(settings: Settings) -> None:
    """Over HTTP: figures as the command has them, a line for lists and one for popularity, no script."""
    now = _usual_nights(settings, 7, last_played=2)
    record_outcomes(settings, now)
    for url in served(settings):
        with urlopen(f"{url}/scorecard", timeout=30) as response:
            page = response.read().decode()
        with urlopen(f"{url}/scorecard?hit=played&days=2", timeout=30) as response:
            short = response.read().decode()
        for odd in ("days=x", "days=" + "9" * 18):
            with pytest.raises(HTTPError) if odd == "days=x" else nullcontext():
                urlopen(f"{url}/scorecard?{odd}", timeout=30).close()
    table = page.partition('<section id="nights">')[2].partition("</section>")[0]
    assert table.split('<td class="number run_id n">')[1].startswith("7</td>")
    assert "5.0 %" in table and "run 7: reach at 10 (liked) is 5.0 %, below" in page
    assert page.count('class="popularity"') == page.count('class="lists"/>') == 2
    assert page.count("<circle") == 14 and "<script" not in page
    assert short.count("<circle") == 4
    for section in page.split("<section id=")[1:]:
        assert re.findall(r"<dt>(.*?)</dt>", section) == re.findall(r"<th scope[^>]*>(.*?)</th>", section)
