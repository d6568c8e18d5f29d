"""The page in a real headless Chromium, driven over the WebDriver protocol."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.accessible import check_everywhere, check_keyboard, check_still
from tests.fixtures.chromium import LAPTOP, Browser, View, needs_chromium, started
from tests.nightreel.browse.conftest import Site

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def test_a_person_finds_a_user_and_compares_two_runs(browser: Browser, site: Site, tmp_path: Path) -> None:
    browser.open(site.url)
    assert len(browser.text("#runs tbody tr")) == 3
    browser.type("#user", str(site.user))
    browser.click("select[name=other] option[value='1']")
    browser.click("button")
    assert browser.title_becomes(f"User {site.user} · nightreel")
    assert len(browser.text("#list tbody tr")) == 10
    assert browser.text("#plays tbody tr td.watch_ratio") == ["125 %", "50 %"]
    assert "videos are in both lists" in browser.text("#changes p")[0]
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_caption_that_attacks_stays_text(browser: Browser, site: Site) -> None:
    browser.open(f"{site.url}/?user={site.user}")
    assert "<script>document.title='owned'</script>" in browser.text("#list .caption")[0]
    assert browser.find("main script, main img") == []
    assert browser.title() == f"User {site.user} · nightreel"


def test_the_style_applies_and_nothing_is_asked_of_elsewhere(browser: Browser, site: Site) -> None:
    browser.log("performance")
    browser.log("browser")
    browser.open(f"{site.url}/?user={site.user}&other=1")
    assert browser.width("#list") > browser.width("#plays") > 0
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) >= 2
    assert all(url.startswith((site.url, "data:")) for url in asked), asked
    assert browser.log("browser") == []


def test_a_user_without_a_list_leads_to_those_with_one(browser: Browser, site: Site) -> None:
    browser.open(f"{site.url}/?user=0")
    assert "has no list" in browser.text("[role=alert]")[0]
    browser.click("main p a")
    assert browser.appears("#list tbody tr")


PAGES = (
    "/",
    "/?user={user}&other=1",
    "/video?video={video}",
    "/popular",
    "/compare",
    "/why",
    "/api/v1/docs",
)
# Made of the same parts.
MORE_PAGES = ("/?user=abc", "/users", "/popular?segment=taste%3D%5CN", "/scorecard", "/drift")


@pytest.mark.parametrize(
    "path", [*PAGES, *(pytest.param(path, marks=pytest.mark.slow) for path in MORE_PAGES)]
)
def test_everybody_can_use_every_page(browser: Browser, site: Site, path: str) -> None:
    check_everywhere(browser, site.url + path.format(user=site.user, video=site.video), unfold=True)


@pytest.mark.parametrize("path", ["/", "/compare"])
def test_the_keyboard_reaches_everything(browser: Browser, site: Site, path: str) -> None:
    browser.look(View(*LAPTOP))
    check_keyboard(browser, site.url + path)
    check_still(browser, site.url + path)


def test_a_video_leads_to_its_users_and_back(browser: Browser, site: Site) -> None:
    browser.look(View(*LAPTOP))
    browser.open(f"{site.url}/?user={site.user}")
    browser.click("#list tbody tr td.video a")
    assert browser.appears("#users tbody tr")
    assert browser.find("#history tbody tr")
    browser.click("#users tbody tr td.user a")
    assert browser.appears("#list tbody tr")
