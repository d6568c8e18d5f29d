"""`/why`: a page says what `nightreel show USER --why VIDEO` says, and in words what it cannot say."""

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text

from feature_repo.home import working_on
from nightreel.core import columns
from nightreel.core.settings import settings_of_home
from scoring.database.connection import sql_engine
from scoring.database.publish import score_and_publish
from scoring.explain import explain
from tests.fixtures.accessible import check_everywhere
from tests.fixtures.chromium import needs_chromium, started
from tests.fixtures.published_home import shown_rows
from tests.fixtures.scored_home import AS_OF, make_scored_home
from tests.fixtures.tables import read_table, write_table
from tests.nightreel.browse.conftest import Site, served
from tests.nightreel.browse.test_page import rows


@pytest.fixture(scope="module")
def why(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Pages on a home with a model and its run; the user's list is the models'."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_scored_home(tmp_path_factory.mktemp("why") / "home", patch)
        score_and_publish(settings, as_of=AS_OF, publish=True)
        # Feast is to work on the home that is served, whatever the environment says.
        patch.setenv("NIGHTREEL_HOME", str(tmp_path_factory.mktemp("another")))
        user = next(row[1] for row in shown_rows(settings) if "hybrid" in row)
        assert isinstance(user, int)
        for url in served(settings):
            yield Site(url, settings, user)


def links(page: str, table: str) -> list[str]:
    section = re.search(rf'<section id="{table}">.*?</section>', page, flags=re.DOTALL)
    assert section is not None
    return [unescape(link) for link in re.findall(r'<td class="link why"><a href="([^"]+)">', section[0])]


def test_each_row_leads_to_why_and_the_page_says_what_the_command_says(why: Site) -> None:
    page = why.get(f"/?user={why.user}")[1]
    listed, unlisted = links(page, "list"), links(page, "unlisted")
    assert len(listed) == len(rows(page, "list")) == 6
    assert len(unlisted) == len(rows(page, "unlisted")) > 0
    for link in (listed[0], unlisted[0]):
        video = int(link.partition("video=")[2].partition("&")[0])
        with working_on(why.settings):
            found = explain(why.settings, why.user, video)
        status, page, _ = why.get(link)
        assert status == 200
        assert (f"It has rank {found.rank}" if found.reason is None else found.reason.text) in unescape(page)
        if found.features:
            assert [line[:2] for line in rows(page, "features")] == [
                [one.model, one.feature] for one in found.features
            ]
        if found.nearby:
            assert [line[0] for line in rows(page, "nearby")] == [str(one.video_id) for one in found.nearby]


_WRONG = ("whole numbers", "Run 77: no such run", "is not a number")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "Name a user and a video."),
        ("user={user}", "Name a user and a video."),
        ("user=abc&video=1", "whole numbers"),
        ("user={user}&video=" + "9" * 30, "whole numbers"),
        ("user=-1&video=1", "User -1 has no list in run 1"),
        ("user={user}&video=1&run=77", "Run 77: no such run"),
        ("user={user}&video=1&run=-1", "is not a number"),
        ("user={user}&video=-9223372036854775808", "It is not in the list."),
    ],
)
def test_what_cannot_be_explained_is_said_in_words(why: Site, asked: str, said: str) -> None:
    status, page, _ = why.get("/why?" + asked.format(user=why.user))
    assert status == (404 if "has no list" in said else 400 if said in _WRONG else 200)
    assert said in unescape(page)
    assert 'name="video"' in page


@pytest.mark.parametrize(
    "lost", ["data/models", "data/features", "data/tables", "data/registry.db", "data/nightreel.sqlite"]
)
def test_a_home_that_lost_a_part_says_which(why: Site, tmp_path: Path, lost: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(why.settings.home, home)
    gone = home / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    settings = settings_of_home(home)
    for url in served(settings):
        status, page, _ = Site(url, settings, why.user).get(f"/why?user={why.user}&video={why.video}")
        assert status in (400, 503)
        assert lost.partition("/")[2] in page and 'role="alert"' in page


def test_a_page_makes_no_night_again(why: Site, tmp_path: Path) -> None:
    """What has arrived since would have to be taken out of tables and features first; a page only reads."""
    home = tmp_path / "home"
    shutil.copytree(why.settings.home, home)
    settings = settings_of_home(home)
    later = pl.lit(AS_OF, dtype=pl.Datetime("us", "UTC")).alias(columns.CREATED_TIMESTAMP)
    write_table(settings, "interactions", read_table(settings, "interactions").with_columns(later))
    with sql_engine(settings).begin() as connection:
        connection.execute(text("UPDATE recommendation_run SET known_at = NULL"))
    for url in served(settings):
        site = Site(url, settings, why.user)
        status, page, _ = site.get(f"/why?user={why.user}&video={why.video}")
        assert status == 400
        assert f"nightreel show {why.user} --why {why.video} --run 1" in unescape(page)


@needs_chromium
def test_everybody_can_use_the_page(why: Site, tmp_path: Path) -> None:
    with started(tmp_path) as browser:
        check_everywhere(browser, f"{why.url}/why?user={why.user}&video={why.video}", unfold=True)
