"""What other people wrote drives no terminal, and one that is not UTF-8 ends no command."""

import json
import os
import subprocess
import sys

import pytest

from nightreel.printing import print_error, print_json, print_table

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


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_what_a_terminal_cannot_write_is_replaced(encoding: str) -> None:
    code = (
        "import sys\nfrom nightreel import cli, printing\n"
        "cli.app = lambda: printing.print_table([{'caption': '好 a'}])\ncli.main()"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["? a"])
