"""Users, videos, comparisons and errors: what each page shows of lists that are worked out by hand."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from sqlalchemy import text

from nightreel.core.ids import ListIds
from nightreel.core.settings import Settings
from scoring.database.compare import compare
from scoring.database.connection import sql_engine
from scoring.database.id_columns import fit_ids
from scoring.database.schema import upgrade_database
from scoring.database.tables import blocklist, recommendation
from tests.fixtures.lists import make_candidates, make_shared
from tests.fixtures.published_home import NIGHT
from tests.fixtures.tables import write_table
from tests.nightreel.browse.conftest import Site, fill, served
from tests.nightreel.browse.test_page import rows

# Lists by run and user. User -3 is of run 2 alone.
LISTS = {
    1: {7: [10, 11, 12], 8: [20, 11, 10], 250: [10, 20, 30]},
    2: {-3: [10, 99, 11], 7: [10, 12, 98], 8: [20, 11, 10], 250: [11, 10, 99]},
}


def publish_lists(settings: Settings, lists: Mapping[int, Mapping[Any, Sequence[Any]]] = LISTS) -> None:
    """Put these lists into the database, the last run shown, each run shown from its instant on."""
    upgrade_database(settings)
    run = (
        "INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, published_at,"
        " users, rows, k, inputs) VALUES (:run, 'published', :at, 'v1', :at, :at, :users, :rows, 3, 'x')"
    )
    row = (
        "INSERT INTO recommendation (run_id, user_id, rank, video_id, score, source)"
        " VALUES (:run, :user, :rank, :video, :score, 'hybrid')"
    )
    with sql_engine(settings).begin() as connection:
        for number, of_run in lists.items():
            at = (NIGHT + timedelta(days=number)).isoformat(timespec="microseconds")
            count = sum(map(len, of_run.values()))
            connection.execute(text(run), {"run": number, "at": at, "users": len(of_run), "rows": count})
            for user, videos in of_run.items():
                for rank, video in enumerate(videos, 1):
                    values = {"run": number, "user": user, "rank": rank, "video": video, "score": 1 / rank}
                    connection.execute(text(row), values)
            connection.execute(text("INSERT INTO list_flip VALUES (:at, :run)"), {"at": at, "run": number})
        connection.execute(text("INSERT INTO published_run VALUES (1, :run)"), {"run": max(lists)})
        connection.execute(text("INSERT INTO blocklist VALUES (98, 'taken down'), (20, NULL)"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings.model_validate(
        {
            "home": tmp_path_factory.mktemp("home"),
            "browse.thumbnail_url": "https://cdn.example.com/v/{video_id}.jpg",
        }
    )
    publish_lists(settings)
    settings.paths.tables.mkdir(parents=True)
    at = NIGHT + timedelta(days=1, hours=1)
    plays = pl.DataFrame(
        {
            "user_id": [7, 7, 7],
            "video_id": [11, 30, 30],
            "event_timestamp": [at, at + timedelta(minutes=1), at + timedelta(minutes=2)],
            "watch_ratio": [3.0, 0.1, 0.2],
            "video_duration": [8_000, 8_000, 8_000],
        }
    )
    write_table(settings, "interactions", plays)
    days = [date(2020, 8, 1) + timedelta(days=n) for n in range(10)]
    daily = {"video_id": [10] * 10, "date": days, "play_cnt": list(range(10)), "like_cnt": [1] * 10}
    write_table(settings, "video_daily", pl.DataFrame(daily))
    settings.paths.features.mkdir()
    stamps = [
        datetime(2020, 8, 2, tzinfo=UTC),
        datetime(2020, 8, 3, tzinfo=UTC),
        datetime(2021, 1, 1, tzinfo=UTC),
    ]
    views = {"video_id": [10] * 3, "event_timestamp": stamps, "video_agg_views": [5, 6, 7]}
    pl.DataFrame(views).write_parquet(settings.paths.features / "video_engagement.parquet")
    return settings


@pytest.fixture(scope="module")
def lists(home: Settings) -> Iterator[Site]:
    for url in served(home):
        yield Site(url, home, 7)


def test_users_come_by_page_and_ids_may_be_negative(lists: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightreel.browse.users.PAGE_USERS", 2)
    _, first, _ = lists.get("/users")
    assert [line[0] for line in rows(first, "users")] == ["-3", "7"]
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    _, second, _ = lists.get(following[1].replace("&amp;", "&"))
    assert [line[0] for line in rows(second, "users")] == ["8", "250"]
    assert 'rel="next"' not in second
    assert [line[0] for line in rows(lists.get("/?user=-3")[1], "list")] == ["1", "2", "3"]


def test_a_user_at_random_has_a_list(lists: Site) -> None:
    found = {re.search(r"<h1>User (-?\d+)</h1>", lists.get("/random")[1])[1] for _ in range(20)}  # type: ignore[index]
    assert found <= {"-3", "7", "8", "250"}


def test_a_video_says_who_gets_it_since_when_its_features_and_its_days(lists: Site) -> None:
    status, page, _ = lists.get("/video?video=10")
    assert status == 200
    assert "4 of 4 lists have it: all lists of the run" in page
    assert [line[:2] for line in rows(page, "users")] == [["-3", "1"], ["7", "1"], ["8", "3"], ["250", "2"]]
    assert [[line[0], *line[2:]] for line in rows(page, "history")] == [
        ["1", "3", "3", "1"],
        ["2", "4", "4", "1"],
    ]
    assert [line[:2] for line in rows(page, "features")] == [["video_agg_views", "6"]]
    assert "plays and likes from 2020-08-01 to 2020-08-10, at most 9 on a day" in page


def test_a_page_of_a_video_looks_through_so_many_rows_and_goes_on(
    lists: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.browse.video._ROWS", 4)
    page, users = "/video?video=99", []
    while page:
        text_ = lists.get(page)[1]
        users += [line[0] for line in rows(text_, "users")]
        following = re.search(r'rel="next" href="([^"]+)"', text_)
        page = following[1].replace("&amp;", "&") if following else ""
    assert users == ["-3", "250"]


def test_each_play_says_whether_it_was_liked_and_where_it_was_listed(lists: Site) -> None:
    plays = rows(lists.get("/?user=7")[1], "plays")
    # Newest first; 30 was in nobody's list for user 7, 11 was at rank 2 of run 1.
    assert [play[1] for play in plays] == ["30", "30", "11"]
    assert [play[-4:] for play in plays] == [
        ["no", "–", "", ""],
        ["no", "–", "", ""],
        ["yes", "2", "hybrid", "1"],
    ]


def test_what_is_not_listed_says_why(lists: Site) -> None:
    first = {line[0]: line for line in rows(lists.get("/?user=7&run=1")[1], "unlisted")}
    assert "blocked" in first["20"] and any(cell.startswith("not blocked or seen") for cell in first["30"])
    found = {line[0]: line for line in rows(lists.get("/?user=7")[1], "unlisted")}
    assert "seen: 2020-08-16" in found["11"]
    assert "98" not in found and "blocked" in found["20"]


def test_pictures_come_from_the_one_host_that_is_set(lists: Site, site: Site) -> None:
    _, page, response = lists.get("/?user=7")
    assert '<img src="https://cdn.example.com/v/10.jpg" alt=""' in page
    assert "img-src data: https://cdn.example.com;" in response.headers["Content-Security-Policy"]
    assert "img-src data:;" in site.get("/")[2].headers["Content-Security-Policy"]


def test_two_runs_are_compared_over_all_users(lists: Site) -> None:
    facts = compare(lists.settings, 2, 1, videos=5)
    assert (facts["users_of_both"], facts["users_of_this_alone"], facts["equal_lists"]) == (3, 1, 1)
    assert facts["share_of_videos_in_both"] == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
    # By hand, p = .9, k = 3: X(d) of user 7 is 1, 1, 2; of user 8 is 1, 2, 3; of user 250 is 0, 1, 1.
    overlaps = [[1, 1, 2], [1, 2, 3], [0, 1, 1]]
    rbo = [x[2] / 3 * 0.9**3 + 0.1 / 0.9 * sum(x[d - 1] / d * 0.9**d for d in (1, 2, 3)) for x in overlaps]
    assert facts["rank_biased_overlap"] == pytest.approx(sum(rbo) / 3)
    assert [one["video_id"] for one in facts["entered"]] == [98, 99]
    assert [one["video_id"] for one in facts["left"]] == [30]
    page = lists.get("/compare?run=2&other=1")[1]
    assert [line[:2] for line in rows(page, "agreement")][:2] == [
        ["Overlap", "66.7 %"],
        ["Rank-biased overlap", f"{100 * sum(rbo) / 3:.1f} %"],
    ]
    assert [line[0] for line in rows(page, "entered")] == ["98", "99"]


def test_a_sample_of_users_is_compared_where_there_are_too_many(
    lists: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = compare(lists.settings, 2, 1, users_max=2)
    assert 1 <= facts["users_of_both"] <= 3
    assert "users_of_this_alone" not in facts


def test_empty_columns_vanish_and_every_other_has_its_meaning(lists: Site) -> None:
    _, page, _ = lists.get("/?user=7")
    section = re.search(r'<section id="list">.*?</section>', page, flags=re.DOTALL)
    assert section is not None
    headings = re.findall(r"<th scope[^>]*>(.*?)</th>", section[0])
    assert "Classifier" not in headings and "Candidate sources" not in headings
    assert re.findall(r"<dt>(.*?)</dt>", section[0]) == headings


def test_related_and_popular_videos_have_pages_that_keep_to_the_run(site: Site, lists: Site) -> None:
    related, _ = make_shared(make_candidates(5), 2, k=5)
    video, _, first, _, source = related.rows.row(0)
    _, page, _ = site.get(f"/video?video={video}")
    found = rows(page, "related")
    assert [line[0] for line in found] == ["1", "2", "3", "4", "5"]
    assert found[0][1] == str(first) and found[0][-1] == source
    assert "&lt;script&gt;" in page and "<script>" not in page
    for path, said in (
        ("/popular", "all users"),
        ("/popular?segment=taste%3D%5CN&run=1", "users with taste \\N"),
    ):
        status, page, _ = site.get(path)
        assert status == 200 and f"Popular among {said} in run" in unescape(page)
        assert len(rows(page, "popular")) == 5
    for path, code in (("/popular?segment=taste%3Dgreen", 404), ("/popular?run=77", 404)):
        status, page, _ = site.get(path)
        assert status == code and 'role="alert"' in page
    # A home that makes none says how to have them.
    status, page, _ = lists.get("/popular")
    assert status == 200 and "set [lists.shared] popular_k" in page


def test_drift_shows_what_moved_first_and_what_its_columns_mean(site: Site) -> None:
    _, page, _ = site.get("/drift")
    assert [(line[0], line[1], line[-1]) for line in rows(page, "columns")] == [
        ("hour_of_day", "0.50", "yes"),
        ("als_score", "0.05", "no"),
    ]
    assert rows(page, "nights")[0][1:] == ["v1", "10", "12", "50.0 %", "25.0 %", "1"]
    for section in page.split("<section id=")[1:]:
        assert re.findall(r"<dt>(.*?)</dt>", section) == re.findall(r"<th scope[^>]*>(.*?)</th>", section)


@pytest.mark.parametrize(
    "path", ["/?user=abc&other=1", "/?user=" + "9" * 30, "/nope", "/video?video=", "/?user=14.5"]
)
def test_errors_keep_the_form_as_it_was_filled_in(lists: Site, path: str) -> None:
    status, page, _ = lists.get(path)
    assert status in (400, 404)
    assert 'role="alert"' in page
    assert 'name="user"' in page and "1, 2020-08-16" in page
    if "user=abc" in path:
        assert 'value="abc"' in page and '<option value="1" selected>' in page


def test_a_section_of_the_settings_names_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightreel.core.errors import InputError
    from nightreel.core.settings import load_settings

    monkeypatch.chdir(tmp_path)
    file = tmp_path / "nightreel.toml"
    file.write_text('lists.top_k = 5\n[browse]\nthumbnail_url = "https://cdn.example.com/{video_id}"\n')
    assert load_settings().browse.thumbnail_url == "https://cdn.example.com/{video_id}"
    for wrong in (
        "https://cdn.example.com/x.jpg",
        "https://{video_id}/x",
        "javascript:alert({video_id})",
        "https://a/{video_id} b",
    ):
        file.write_text(f'[browse]\nthumbnail_url = "{wrong}"\n')
        with pytest.raises(InputError):
            load_settings()


def test_pages_on_damaged_tables_and_none_say_what_to_do(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    user = fill(settings)
    settings.paths.table("video_captions").write_text("no parquet")
    for address in served(settings):
        status, page, _ = Site(address, settings, user).get("/video?video=1")
        assert status == 503 and "video_captions.parquet" in page
        (night,) = (settings.paths.data / "drift").iterdir()
        for damaged in ("no JSON", "[]", "{}"):
            night.write_text(damaged)
            status, page, _ = Site(address, settings, user).get("/drift")
            assert status == 400 and night.name in page


def test_ids_that_are_text_lead_from_page_to_page(tmp_path: Path) -> None:
    """Words, UUIDs, and integers above 2^63-1, with characters that an address has to escape."""
    settings = Settings.model_validate({"home": tmp_path})
    names = ["a/b c&d", "18446744073709551615", "视频<1>%'", "z" * 450]
    settings.paths.ids.mkdir(parents=True)
    for name in ("user", "video"):
        pl.DataFrame({"id": names, "code": range(4)}).write_parquet(settings.paths.ids / f"{name}.parquet")
    upgrade_database(settings)
    with sql_engine(settings).begin() as connection:
        fit_ids(connection, ListIds.of(settings.paths), (recommendation, blocklist))
    publish_lists(settings, {1: dict.fromkeys(names, names[:3]), 2: dict.fromkeys(names, names[1:])})
    for url in served(settings):
        site = Site(url, settings, 0)
        links = re.findall(r'<td class="user user_id n"><a href="([^"]+)">', site.get("/users")[1])
        assert len(links) == 4
        for link in links:
            status, page, _ = site.get(link.replace("&amp;", "&"))
            assert status == 200 and len(rows(page, "list")) == 3
            (why, *_) = re.findall(r'<td class="link why"><a href="([^"]+)">', page)
            _, asked, _ = site.get(unescape(why))
            # There is no model, and that is said of the user and the video that the row is of.
            assert "no such table" in asked or "no such model" in asked
            typed = re.findall(r'name="(?:user|video)"[^>]* value="([^"]*)"', asked)
            of_page = re.search("<h1>User (.*?)</h1>", page)
            assert of_page is not None and {*typed} == {of_page[1], rows(page, "list")[0][1]}
            (video, *_) = re.findall(r'<td class="video video_id n"><a href="([^"]+)">', page)
            status, page, _ = site.get(video.replace("&amp;", "&"))
            assert status == 200 and "4 of 4 lists have it" in page
        drawn = {re.search("<h1>User (.*?)</h1>", site.get("/random")[1])[1] for _ in range(40)}  # type: ignore[index]
        assert len(drawn) > 1 and {*map(unescape, drawn)} <= {*names}
        assert site.get("/?user=nobody")[0] == 404
        assert site.get("/compare")[0] == 200
        assert compare(settings, 2, 1, users_max=2)["users_of_both"] >= 1
        address, found = "/api/v1/lists?limit=3", 0
        while address:
            page = json.loads(site.get(address)[1])
            address, found = page["next"], found + len(page["lists"])
        assert found == 4
        for name in names:
            assert json.loads(site.get("/api/v1/lists/" + quote(name, safe=""))[1])["user_id"] == name
        (settings.paths.ids / "user.parquet").write_text("no parquet")
        status, page, _ = site.get("/random")
        assert status == 503 and "cannot be read" in page
