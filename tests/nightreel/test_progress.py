"""Progress on a terminal: after two seconds, with an estimate from the last time, and gone at the end."""

import itertools
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nightreel.cli import lists
from nightreel.core.logs import progress as bar
from nightreel.core.progress import progress, said
from nightreel.core.settings import load_settings
from tests.fixtures.published_home import publish_small_lists


@pytest.mark.parametrize(
    ("passed_s", "expected_s", "line"),
    [
        (34.0, 120.0, "train: 34 s of about 2 min 00 s, 86 s to go"),
        (130.0, 120.0, "train: 2 min 10 s, longer than the last time (2 min 00 s)"),
        (5.0, None, "train: 5 s; how long it takes is not known before it was done once"),
        (7300.0, 9000.0, "train: 2 h 01 min of about 2 h 30 min, 28 min 20 s to go"),
    ],
)
def test_the_line_says_what_is_done_and_how_long_it_goes_on(
    passed_s: float, expected_s: float | None, line: str
) -> None:
    assert said("train", passed_s, expected_s) == line


class _Terminal:
    """What was written, and when there was something."""

    def __init__(self) -> None:
        self.text = ""
        self.came = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        self.came.set()
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def test_it_is_shown_while_the_work_goes_on_and_taken_away_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightreel.core.progress.AFTER_S", 0.01)
    terminal, times = _Terminal(), iter(range(0, 10_000, 3))
    with progress("train", 30.0, stream=terminal, now=lambda: float(next(times))):  # type: ignore[arg-type]
        assert terminal.came.wait(30)
    assert "train: 3 s of about 30 s, 27 s to go" in terminal.text
    assert terminal.text.endswith("\r\x1b[2K")


def test_there_is_one_display_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a command's line, its bar and a bar within that: a display hides the cursor when it begins."""
    monkeypatch.setattr("nightreel.core.progress.AFTER_S", 0.01)
    monkeypatch.setattr("nightreel.core.progress.EVERY_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    own, other = pty.openpty()
    times = itertools.count()
    line, asked = _Terminal(), threading.Event()

    def now() -> float:
        if (passed := next(times)) > 20:
            asked.set()
        return float(passed)

    with os.fdopen(other, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        with progress("train", 30.0, stream=line, now=now):  # type: ignore[arg-type]
            assert line.came.wait(30)
            with bar("past nights", total=2) as advance, bar("lists", total=1):
                before = line.text
                asked.clear()
                # The line's thread goes on asking what time it is, and shows nothing.
                assert asked.wait(30)
                advance()
                assert line.text == before
    shown = os.read(own, 1 << 16).decode()
    os.close(own)
    assert before.endswith("\r\x1b[2K")
    assert shown.count("\x1b[?25l") == 1
    assert "past nights" in shown and "lists" in shown


def test_what_only_reads_is_estimated_by_its_last_time_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    settings = load_settings()
    publish_small_lists(settings, (1, 2))
    timings = settings.paths.state / "timings.json"
    lists.compare(2, 1)
    lists.export(tmp_path / "lists.csv", run_id=None, since=None, to=None, key="")
    # It took less than what is shown, so no file was made for it.
    assert not timings.exists()
    monkeypatch.setattr("nightreel.core.progress.AFTER_S", 0.0)
    lists.compare(2, 1)
    lists.export(tmp_path / "lists.csv", run_id=None, since=None, to=None, key="")
    assert json.loads(timings.read_text()).keys() == {"compare", "export"}
    capsys.readouterr()


def test_a_table_fits_the_terminal_and_stays_aligned() -> None:
    """Chinese takes two cells, an accent of its own none; where all is piped nothing is cut."""
    code = (
        "from nightreel.core.printing import print_table\n"
        "print_table([{'video_id': 1, 'caption': '好' * 60, 'score': 0.5}, "
        "{'video_id': 22, 'caption': 'e\\u0301' * 5, 'score': 1.5}])"
    )
    environment = os.environ | {"COLUMNS": "50", "LINES": "20", "PYTHONIOENCODING": "utf-8"}
    own, other = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=other, env=environment, check=True, timeout=60)
    os.close(other)
    lines = os.read(own, 100_000).decode().replace("\r\n", "\n").splitlines()
    assert [line[-6:] for line in lines] == [" score", "0.5000", "1.5000"]
    cells = [sum(2 if one == "好" else 0 if one == "\u0301" else 1 for one in line) for line in lines]
    assert cells == [cells[0]] * 3 and cells[0] <= 50 and "…" in lines[1]
    piped = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "好" * 60 in piped.stdout
