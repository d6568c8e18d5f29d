"""What other people wrote drives no terminal, and one that is not UTF-8 ends no command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nightreel.core.printing import print_error, print_json, print_table

HOSTILE = "a\x1b]0;owned\x07\x9b31m\x7f\u202eb"
CODE = "a\\x1b]0;owned\\x07\\x9b31m\\x7f\\u202eb"


def test_a_caption_is_shown_with_its_control_characters_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"caption": HOSTILE}])
    print_error(f"file {HOSTILE}: no such file")
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == CODE
    assert err == f"nightreel: file {CODE}: no such file\n"


def test_json_of_a_caption_is_the_same_text_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"caption": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"caption": HOSTILE}
    assert not set(HOSTILE) & set(out) - set("a]0;owned31mb")


_FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not _FULL.is_char_device(), reason="there is no /dev/full here")


def _nightreel(*arguments: str, home: Path, unbuffered: str = "", **streams: Any) -> tuple[int, str]:
    """The command with a stream of its own; exit code and standard error."""
    with _FULL.open("w") as full:
        done = subprocess.run(
            [Path(sys.executable).with_name("nightreel"), *arguments],
            env=os.environ | {"NIGHTREEL_HOME": str(home), "PYTHONUNBUFFERED": unbuffered},
            **{"stderr": subprocess.PIPE} | dict.fromkeys(streams, full),
            check=False,
            timeout=60,
        )
    return done.returncode, (done.stderr or b"").decode()


@needs_full
@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (("settings",), ""),
        (("settings",), "1"),
        (("settings", "--json"), ""),
        (("--help",), ""),
        (("--version",), ""),
        (("catalogue",), "1"),
    ],
)
def test_standard_output_that_takes_nothing_is_said_as_that(
    arguments: tuple[str, ...], unbuffered: str, tmp_path: Path
) -> None:
    code, said = _nightreel(*arguments, home=tmp_path, unbuffered=unbuffered, stdout=_FULL)
    assert code == 1
    assert said.startswith("nightreel: Standard output could not be written: No space left on device.")
    assert len(said.splitlines()) == 1 and str(tmp_path) not in said and " free" not in said


@needs_full
def test_an_error_is_still_the_one_that_is_said_where_standard_output_takes_nothing(tmp_path: Path) -> None:
    code, said = _nightreel("ingest", home=tmp_path, stdout=_FULL)
    assert code == 2 and "raw" in said and "Standard output" not in said


@needs_full
def test_standard_error_that_takes_nothing_stops_no_work(tmp_path: Path) -> None:
    size = ("--users", "20", "--videos", "30", "--interactions", "400", "--days", "3")
    assert _nightreel("synthesize", *size, home=tmp_path, stderr=_FULL, stdout=_FULL)[0] == 1
    assert (tmp_path / "raw" / "big_matrix.csv").is_file()
    code, _ = _nightreel("ingest", home=tmp_path, stderr=_FULL)
    assert code == 0 and list((tmp_path / "data" / "tables").glob("*.parquet"))


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_what_a_terminal_cannot_write_is_replaced(encoding: str) -> None:
    code = (
        "import sys\nfrom nightreel.core import printing\nfrom nightreel.cli import entry\n"
        "entry.app = lambda: printing.print_table([{'caption': '好 a'}])\nentry.main()"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["? a"])
