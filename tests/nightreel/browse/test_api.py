"""The API: lists, runs and the scorecard as JSON, by pages, with ETags, and behind a password."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from nightreel.browse.login import GUESSES, WITHIN_S, Login
from nightreel.core.settings import Settings
from tests.fixtures.fork_server import forks
from tests.fixtures.lists import make_candidates, make_shared
from tests.nightreel.browse.conftest import Site, served
from tests.nightreel.browse.test_pages import LISTS, publish_lists

PASSWORD = "correct horse 好"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings.model_validate({"home": tmp_path_factory.mktemp("home")})
    publish_lists(settings)
    return settings


@pytest.fixture(scope="module")
def api(home: Settings) -> Iterator[Site]:
    for url in served(home):
        yield Site(url, home, 7)


def ask(site: Site, path: str) -> Any:
    status, body, response = site.get("/api/v1" + path)
    assert (status, response.headers["Content-Type"]) == (200, "application/json"), body
    return json.loads(body)


def test_a_users_list_by_rank(api: Site) -> None:
    found = ask(api, "/lists/7")
    assert (found["user_id"], found["run_id"]) == (7, 2)
    assert [(row["rank"], row["video_id"]) for row in found["list"]] == [(1, 10), (2, 12), (3, 98)]
    assert found["list"][0] == {
        "rank": 1,
        "video_id": 10,
        "score": 1.0,
        "classifier_score": None,
        "regressor_score": None,
        "als_score": None,
        "source": "hybrid",
        "candidate_sources": None,
        "rule": None,
        "propensity": None,
        "arm": None,
    }
    assert len(ask(api, "/lists/7?run=1&limit=1")["list"]) == 1
    assert ask(api, "/lists/-3")["user_id"] == -3


def test_lists_that_are_not_a_users_are_there_too(site: Site) -> None:
    related, _ = make_shared(make_candidates(5), 2, k=5)
    video = related.rows["video_id"][0]
    found = ask(site, f"/related/{video}?limit=2")
    assert (found["video_id"], found["run_id"]) == (video, 2)
    assert [row["related_video_id"] for row in found["list"]] == related.rows["related_video_id"][
        :2
    ].to_list()
    assert [*found["list"][0]] == ["rank", "related_video_id", "score", "source"]
    assert len(ask(site, "/popular?run=1")["list"]) == 5
    found = ask(site, "/popular?segment=taste&value=%5CN&limit=3")
    assert (found["segment"], found["value"], len(found["list"])) == ("taste", "\\N", 3)
    for path in ("/related/-77", "/popular?segment=taste&value=green", "/popular?run=77"):
        assert site.get("/api/v1" + path)[0] == 404


def test_pages_lead_to_every_list_and_run(api: Site) -> None:
    address, found = "/lists?limit=3", {}
    while address:
        page = ask(api, address)
        found |= {one["user_id"]: [row["video_id"] for row in one["list"]] for one in page["lists"]}
        address = (page["next"] or "").removeprefix("/api/v1")
    assert found == LISTS[2]
    first = ask(api, "/runs?limit=1")
    assert [run["run_id"] for run in first["runs"]] == [2] and first["runs"][0]["shown"]
    second = ask(api, first["next"].removeprefix("/api/v1"))
    assert [run["run_id"] for run in second["runs"]] == [1] and second["next"] is None
    assert ask(api, "/runs/1")["model_version"] == "v1"
    assert ask(api, "/scorecard")["nights"] == []


def test_a_reader_that_has_it_already_gets_304(api: Site) -> None:
    _, _, response = api.get("/api/v1/lists/7")
    tag = response.headers["ETag"]
    assert api.get("/api/v1/lists/7", **{"If-None-Match": f'"other", W/{tag}'})[:2] == (304, "")
    assert api.get("/api/v1/lists/8", **{"If-None-Match": tag})[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/lists/1000000", 404),
        ("/lists/7?run=9", 404),
        ("/lists/x", 400),
        ("/lists/7?limit=1.5", 400),
        ("/lists/7?limit=100000", 400),
        ("/lists/7?limit=0", 400),
        ("/lists?limit=0", 400),
        ("/scorecard?days=0", 400),
        ("/lists/%00", 400),
        ("/runs/abc", 400),
        ("/runs/" + "9" * 5_000, 400),
        ("/lists?run=9", 404),
        ("/runs/9", 404),
        ("/runs/99999999999999", 400),
        ("/nothing", 404),
        ("/scorecard?days=x", 400),
    ],
)
def test_errors_are_json_with_a_remedy(api: Site, path: str, status: int) -> None:
    found, body, _ = api.get("/api/v1" + path)
    error = json.loads(body)["error"]
    assert found == status and error["message"] and error["remedy"]


def test_a_method_that_there_is_not_says_which_there_are(api: Site) -> None:
    for path in ("/", "/api/v1/runs"):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(api.url + path, data=b"", method="POST"), timeout=30)
        assert refused.value.status == 405
        assert {*refused.value.headers["Allow"].split(", ")} == {"GET", "HEAD"}
        refused.value.close()


def test_tags_may_come_in_several_lines(api: Site) -> None:
    tag = api.get("/api/v1/lists/7")[2].headers["ETag"]
    connection = HTTPConnection(api.url.removeprefix("http://"), timeout=30)
    connection.putrequest("HEAD", "/api/v1/lists/7")
    connection.putheader("If-None-Match", '"another"')
    connection.putheader("If-None-Match", f"W/{tag}")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (304, b"")
    connection.close()


def test_the_description_names_every_address_and_what_comes_back(site: Site) -> None:
    document = ask(site, "/openapi.json")
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        address = path.removeprefix("/api/v1").replace("{user}", str(site.user))
        address = address.replace("{video}", str(site.video)).replace("{run}", "1")
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert set(schema["required"]) <= set(ask(site, address))
        assert path.rpartition("/")[0] in site.get("/api/v1/docs")[1]


def test_without_a_database_it_says_what_to_run(empty_site: Site) -> None:
    status, body, _ = empty_site.get("/api/v1/lists/7")
    assert status == 400 and "nightreel score" in json.loads(body)["error"]["remedy"]


def test_a_list_is_read_again_after_the_next_run_and_after_a_restored_file(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    publish_lists(settings, {1: {7: [10]}})
    for url in served(settings):
        site = Site(url, settings, 7)
        assert ask(site, "/lists/7")["list"][0]["video_id"] == 10
        other = Settings.model_validate({"home": tmp_path / "other"})
        publish_lists(other, {1: {7: [20]}})
        other.paths.sqlite.replace(settings.paths.sqlite)
        assert ask(site, "/lists/7")["list"][0]["video_id"] == 20


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


def test_a_password_is_asked_for_everywhere_and_guesses_are_few(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    guarded = home.changed(
        {
            "browse.password": Settings.model_validate(
                {"home": home.home, "browse.password": PASSWORD}
            ).browse.password
        }
    )
    monkeypatch.setattr(Login.__init__, "__defaults__", (lambda: now[0],))
    for url in served(guarded):
        site = Site(url, guarded, 7)
        for path in ("/", "/api/v1/lists/7", "/style.css", "/api/v1/openapi.json"):
            status, _, response = site.get(path)
            assert (status, response.headers["WWW-Authenticate"][:5]) == (401, "Basic")
            assert site.get(path, Authorization=_basic(PASSWORD))[0] == 200
        for wrong in ("", "Basic", "Basic ???", "Bearer x", _basic(PASSWORD + "x"), _basic("")):
            assert site.get("/", Authorization=wrong)[0] == 401
        for n in range(GUESSES):
            site.get("/", Authorization=_basic(f"guess {n}"))
        status, _, response = site.get("/", Authorization=_basic(PASSWORD))
        assert status == 429 and 0 < int(response.headers["Retry-After"]) <= WITHIN_S + 1
        now[0] += WITHIN_S + 1
        assert site.get("/", Authorization=_basic(PASSWORD))[0] == 200


def test_others_are_not_served_without_a_password(home: Settings) -> None:
    environment = os.environ | {"NIGHTREEL_HOME": str(home.home)}
    done = forks.run(["nightreel", "browse", "--port", "0", "--host", "0.0.0.0"], env=environment, timeout=60)
    assert done.returncode == 2
    assert "NIGHTREEL_BROWSE_PASSWORD" in done.stderr and len(done.stderr.splitlines()) == 1


def test_several_processes_serve_and_end_together(home: Settings) -> None:
    environment = os.environ | {"NIGHTREEL_HOME": str(home.home), "NIGHTREEL_BROWSE_PASSWORD": PASSWORD}
    command = [sys.executable, "-m", "nightreel", "browse", "--port", "0", "--workers", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        site = Site(run.stdout.readline().split()[0], home, 7)
        assert site.get("/api/v1/lists/7", Authorization=_basic(PASSWORD))[0] == 200
        run.terminate()
        _, said = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in said
