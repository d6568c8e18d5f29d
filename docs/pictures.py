"""Takes the pictures of the README: a user's list and the report of a home that `nightreel demo` has made.

`python docs/pictures.py --home demo`, with Chromium on the PATH, after `nightreel report --home demo`.
"""

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from nightreel.browse.app import make_app
from nightreel.core.settings import Settings, load_settings

FOLDER = Path(__file__).resolve().parent / "images"
# Width and height of each picture; no file may be larger than this.
SIZES = {"list.png": (1400, 620), "report.png": (1180, 620)}
BYTES_MAX = 150_000
USER = 14


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The pages of `nightreel browse`, as long as the block lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = make_app(settings, hosts=("127.0.0.1",))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def take(url: str, file: Path) -> None:
    """A picture of the top of a page. Raises SystemExit where it is too large or was not made."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium here: `apt-get install chromium`")
    width, height = SIZES[file.name]
    with tempfile.TemporaryDirectory() as profile:
        arguments = [f"--window-size={width},{height}", f"--user-data-dir={profile}", f"--screenshot={file}"]
        common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        subprocess.run([browser, *common, *arguments, url], check=True, capture_output=True, timeout=120)
    if file.stat().st_size > BYTES_MAX:
        raise SystemExit(f"{file}: {file.stat().st_size:,} bytes, more than {BYTES_MAX:,}")


def main() -> None:
    """Take both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("demo"))
    home = parser.parse_args().home.resolve()
    os.environ["NIGHTREEL_HOME"] = str(home)
    settings = load_settings()
    FOLDER.mkdir(exist_ok=True)
    with served(settings) as url:
        take(f"{url}/?user={USER}", FOLDER / "list.png")
    take((settings.paths.data / "report" / "report.html").as_uri(), FOLDER / "report.png")


if __name__ == "__main__":
    main()
