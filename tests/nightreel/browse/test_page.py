"""The page over HTTP: what it shows, that it escapes, and that it only reads."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest

from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from tests.nightreel.browse.conftest import Site, fill, served
from tests.scoring.conftest import Server


def rows(text: str, section: str) -> list[list[str]]:
    """The cells of the table in a section."""
    found = re.search(rf'<section id="{section}">(.*?)</section>', text, flags=re.DOTALL)
    assert found is not None, section
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", found[1], flags=re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line, flags=re.DOTALL) for line in lines[1:]]
    # A link's text is the text of the cell; the captions' own tags are escaped.
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in line] for line in cells]


def test_a_users_list_has_captions_categories_scores_and_source(site: Site) -> None:
    status, text, _ = site.get(f"/?user={site.user}")
    assert status == 200
    listed = rows(text, "list")
    assert [line[0] for line in listed] == [str(rank) for rank in range(1, 11)]
    assert all(line[2].startswith("视频") for line in listed)
    assert {line[3] for line in listed} == {"音乐 / 音乐 / 音乐"}
    assert all(re.fullmatch(r"-?\d+\.\d{4}", cell) for line in listed for cell in line[4:8])
    assert {line[8] for line in listed} == {"hybrid"}
    assert "ease, fresh" in {line[9] for line in listed}


def test_only_plays_that_the_run_knew_of_stand_beside_it(site: Site) -> None:
    plays = rows(site.get(f"/?user={site.user}")[1], "plays")
    assert [play[4] for play in plays] == ["125 %", "50 %"]


def test_two_runs_are_compared_by_rank(site: Site) -> None:
    status, text, _ = site.get(f"/?user={site.user}&run=2&other=1")
    assert status == 200
    changes = rows(text, "changes")
    ranks = {line[0]: (line[2], line[3], line[4]) for line in changes}
    old = {line[1]: line[0] for line in rows(site.get(f"/?user={site.user}&run=1")[1], "list")}
    new = {line[1]: line[0] for line in rows(site.get(f"/?user={site.user}&run=2")[1], "list")}
    assert set(ranks) == {*old, *new}
    for video, (now, before, change) in ranks.items():
        assert (now, before) == (new.get(video, "–"), old.get(video, "–"))
        assert (change == "gone") == (video not in new)
        assert (change == "new") == (video not in old)
    assert f"{len({*old} & {*new})} videos are in both lists" in text


def test_the_history_has_timings_and_why_a_run_failed(site: Site) -> None:
    history = rows(site.get("/")[1], "runs")
    assert [line[0] for line in history] == ["3", "2", "1"]
    assert history[0][1:3] == ["failed", "not passed"]
    assert "user 7 has 3 rows" in history[0][9]
    assert history[1][1:3] == ["published, shown", "passed"]
    assert history[1][8] == "write 1.2, audit 0.5"


@pytest.mark.parametrize(
    "query", ["", "?user={user}", "?user={user}&other=1", "?user=%3Cscript%3E", "?run=99"]
)
def test_whatever_a_caption_or_an_address_holds_is_escaped(site: Site, query: str) -> None:
    _, text, _ = site.get("/" + query.format(user=site.user))
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"<[^>]+\son\w+=", text)


def test_nothing_comes_from_elsewhere_and_the_browser_is_told_so(site: Site) -> None:
    for path in ("/", "/?user=1", "/?user=x", "/style.css"):
        _, text, response = site.get(path)
        assert "http" not in text.replace("http-equiv", "")
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?user=1000000", 404),
        ("?run=3", 404),
        ("?run=99", 404),
        ("?user={user}&other=99", 404),
        ("?user=-1", 404),
        ("?user=1.5", 400),
        ("?user=" + "9" * 40, 400),
        ("?user=9223372036854775807", 404),
        ("?user=" + "9" * 19, 400),
        ("?user=%D9%A3", 400),
    ],
)
def test_what_is_not_there_is_said_plainly(site: Site, query: str, status: int) -> None:
    found, text, _ = site.get("/" + query.format(user=site.user))
    assert found == status
    assert 'role="alert"' in text


def test_other_names_for_this_machine_are_refused(site: Site) -> None:
    assert site.get("/", Host="evil.example")[0] == 400


def test_nothing_is_written(site: Site) -> None:
    before = hashlib.sha256(site.settings.paths.sqlite.read_bytes()).hexdigest()
    for path in ("/", f"/?user={site.user}&other=1", "/?run=99"):
        site.get(path)
    assert hashlib.sha256(site.settings.paths.sqlite.read_bytes()).hexdigest() == before


def test_without_a_database_it_says_what_to_run(empty_site: Site) -> None:
    status, text, _ = empty_site.get("/")
    assert status == 400
    assert "nightreel score" in text
    assert [*empty_site.settings.home.iterdir()] == []


def test_a_damaged_table_is_named_with_its_remedy(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    user = fill(settings)
    for path in files_by_day(settings.paths.interactions).values():
        path.write_text("no parquet")
    for address in served(settings):
        status, text, _ = Site(address, settings, user).get(f"/?user={user}")
    assert status == 503
    assert "interactions" in text
    assert "nightreel ingest --force" in text


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.remove()


def test_on_postgresql_a_role_that_may_only_read_is_enough(server: Server, tmp_path: Path) -> None:
    owner = Settings.model_validate({"home": tmp_path, "database.url": server.url})
    user = fill(owner)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 's3cr3t'")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    url = server.url.replace("postgresql://postgres", "postgresql://reader:s3cr3t", 1)
    reader = Settings.model_validate({"home": tmp_path, "database.url": url})
    for address in served(reader):
        site = Site(address, reader, user)
        status, text, _ = site.get(f"/?user={user}&other=1")
        assert status == 200, text
        assert len(rows(text, "list")) == 10
        server.crash()
        status, text, _ = site.get("/")
        assert status == 503
        assert "s3cr3t" not in text
        server.start()


def test_the_command_serves_this_machine_until_it_is_stopped(site: Site) -> None:
    command = [Path(sys.executable).with_name("nightreel"), "browse", "--port", "0"]
    environment = os.environ | {"NIGHTREEL_HOME": str(site.settings.home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        url = run.stdout.readline().split()[0]
        assert url.startswith("http://127.0.0.1:")
        assert b"nightreel" in urlopen(url, timeout=30).read()
        port = url.rsplit(":", 1)[1]
        second = subprocess.run(
            [*command[:-1], port], capture_output=True, text=True, env=environment, check=False, timeout=60
        )
        assert second.returncode == 3
        assert "--port" in second.stderr
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "Traceback" not in said
