"""`feast ui` starts on the repository and shows what is registered."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from feature_repo.open_store import apply_definitions
from nightreel.core.settings import load_settings

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answer(url: str, process: subprocess.Popen[bytes]) -> bytes:
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return bytes(response.read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"no answer from {url}; the server's exit code is {process.poll()}")


@pytest.mark.slow
def test_feast_ui_shows_every_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    apply_definitions(load_settings())
    port = _free_port()
    with subprocess.Popen(
        [Path(sys.executable).with_name("feast"), "ui", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT / "feature_repo",
        env={**os.environ, "NIGHTREEL_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            page = _answer(f"http://127.0.0.1:{port}/", process)
            views = _answer(f"http://127.0.0.1:{port}/api/v1/feature_views?project=nightreel", process)
        finally:
            process.kill()
    assert b"<html" in page.lower()
    names = {view["spec"]["name"] for view in json.loads(views)["featureViews"]}
    assert {"user_profile", "user_activity", "video_profile", "video_text", "als_score"} <= names
