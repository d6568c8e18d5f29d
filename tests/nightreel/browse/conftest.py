"""A page that is really served, on published lists with captions and plays."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl
import pytest
import uvicorn
from sqlalchemy import text

from nightreel.browse.app import make_app
from nightreel.core.settings import Settings
from nightreel.operations.drift.stored import save
from scoring.database.connection import sql_engine
from tests.fixtures.published_home import NIGHT, publish_small_lists
from tests.fixtures.tables import write_table

DRIFT = {
    "night": str(NIGHT.date()),
    "model_version": "v1",
    "columns": [
        {
            "name": name,
            "index": index,
            "missing": 0.01,
            "missing_training": 0.02,
            "unknown": 0.0,
            "moved": moved,
        }
        for name, index, moved in (("als_score", 0.05, False), ("hour_of_day", 0.5, True))
    ],
    "plays": {"day": 10, "usual": 12.0, "moved": False},
    "liked": {"day": 0.5, "training": 0.25, "moved": True},
    "remarks": ["hour_of_day has moved"],
}
EVIL = "<script>document.title='owned'</script>\"><img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class Site:
    """A served page, its home, and a user with a list in both of its runs."""

    url: str
    settings: Settings
    user: int

    @property
    def video(self) -> int:
        """The first video of the user's list."""
        with sql_engine(self.settings).connect() as connection:
            first = "SELECT video_id FROM latest_recommendation WHERE rank = 1 AND user_id = :user"
            return int(connection.execute(text(first), {"user": self.user}).scalar_one())

    def get(self, path: str, **headers: str) -> tuple[int, str, HTTPResponse | HTTPError]:
        """Ask for a path; the status, the text and the response."""
        try:
            response: HTTPResponse | HTTPError = urlopen(
                Request(self.url + path, headers=headers), timeout=30
            )
        except HTTPError as error:
            response = error
        return response.status, response.read().decode(), response  # type: ignore[return-value]


def fill(settings: Settings) -> int:
    """Two runs with lists, a failed one, captions that attack, and plays before and after the runs."""
    publish_small_lists(settings, (1, 2), shared=True)
    with sql_engine(settings).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO recommendation_run "
                "(run_id, status, as_of, model_version, started_at, k, inputs, error) "
                "SELECT 3, 'failed', as_of, :evil, started_at, k, 'x', :why "
                "FROM recommendation_run WHERE run_id = 2"
            ),
            {"evil": EVIL, "why": f"audit: user 7 has 3 rows {EVIL}"},
        )
        connection.execute(
            text("UPDATE recommendation_run SET stages = :stages WHERE run_id = 2"),
            {"stages": '{"write": 1.25, "audit": 0.5}'},
        )
        user = connection.execute(
            text("SELECT min(user_id) FROM latest_recommendation WHERE source = 'hybrid'")
        ).scalar()
        videos = [*connection.execute(text("SELECT DISTINCT video_id FROM recommendation")).scalars()]
    names = {f"{level}_level_category_name": ["音乐"] * len(videos) for level in ("first", "second", "third")}
    settings.paths.tables.mkdir(parents=True, exist_ok=True)
    captions = pl.DataFrame({"video_id": videos, "caption": [f"视频 {EVIL}"] * len(videos), **names})
    captions.write_parquet(settings.paths.table("video_captions"))
    plays = pl.DataFrame(
        {
            "user_id": [user, user, user],
            "video_id": videos[:3],
            "event_timestamp": [NIGHT, NIGHT + timedelta(hours=1), NIGHT + timedelta(days=30)],
            "watch_ratio": [0.5, 1.25, 4.44],
        }
    )
    write_table(settings, "interactions", plays)
    save(settings.paths, NIGHT.date(), DRIFT)
    return int(user or 0)


def served(settings: Settings, hosts: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[str]:
    """Serve the page in a thread; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    configuration = uvicorn.Config(
        make_app(settings, hosts=hosts), log_level="critical", lifespan="off", ws="none"
    )
    server = uvicorn.Server(configuration)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page on a SQLite file."""
    settings = Settings.model_validate({"home": tmp_path_factory.mktemp("home")})
    user = fill(settings)
    for url in served(settings):
        yield Site(url, settings, user)


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    """The page on a home where nothing has run."""
    settings = Settings.model_validate({"home": tmp_path})
    for url in served(settings):
        yield Site(url, settings, 0)
