"""The page in a real headless Chromium, driven over the WebDriver protocol."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.nightreel.browse.conftest import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no Chromium with its driver here: `apt-get install chromium chromium-driver`",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def _in_time(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Browser:
    """One session of the driver; only what the tests need of WebDriver."""

    def __init__(self, address: str, folder: Path) -> None:
        self._address = address
        arguments = ["--headless=new", "--no-sandbox", "--window-size=1600,1000", f"--user-data-dir={folder}"]
        options = {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        begun = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._address += f"/session/{begun['sessionId']}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._address + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def find(self, css: str) -> list[str]:
        found = self._ask("POST", "/elements", {"using": "css selector", "value": css})
        return [element[_ELEMENT] for element in found]

    def text(self, css: str) -> list[str]:
        return [self._ask("GET", f"/element/{element}/text") for element in self.find(css)]

    def type(self, css: str, text: str) -> None:
        self._ask("POST", f"/element/{self.find(css)[0]}/value", {"text": text})

    def click(self, css: str) -> None:
        self._ask("POST", f"/element/{self.find(css)[0]}/click", {})

    def title(self) -> str:
        return str(self._ask("GET", "/title"))

    def title_becomes(self, title: str) -> bool:
        """Whether the page that a click leads to has come; the driver does not always wait for it."""
        return _in_time(lambda: self.title() == title)

    def appears(self, css: str) -> bool:
        """Whether such an element is there, or comes."""
        return _in_time(lambda: bool(self.find(css)))

    def width(self, css: str) -> float:
        return float(self._ask("GET", f"/element/{self.find(css)[0]}/rect")["width"])

    def log(self, kind: str) -> list[dict[str, Any]]:
        return list(self._ask("POST", "/se/log", {"type": kind}))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def close(self) -> None:
        self._ask("DELETE", "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        [str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 30
    while True:
        try:
            urlopen(f"{address}/status", timeout=5).close()
            break
        except URLError:
            assert time.monotonic() < end, "the driver did not start"
            time.sleep(0.05)
    found = Browser(address, tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()
    driver.terminate()
    driver.wait(30)


def test_a_person_finds_a_user_and_compares_two_runs(browser: Browser, site: Site, tmp_path: Path) -> None:
    browser.open(site.url)
    assert len(browser.text("#runs tbody tr")) == 3
    browser.type("#user", str(site.user))
    browser.click("select[name=other] option[value='1']")
    browser.click("button")
    assert browser.title_becomes(f"User {site.user} · nightreel")
    assert len(browser.text("#list tbody tr")) == 10
    assert browser.text("#plays tbody tr td.n:last-child") == ["125 %", "50 %"]
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
