"""Shell completion: the script knows every command and option, in a real bash."""

import subprocess
from pathlib import Path

import pytest
import typer

from nightreel.cli import app
from tests.nightreel.test_cli import _nightreel

ASK = """
source {script}
ask() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _nightreel; echo "${{COMPREPLY[@]}}"; }}
ask {words}
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    done = _nightreel("completion", "bash", cwd=folder)
    assert done.returncode == 0
    (folder / "nightreel.bash").write_text(done.stdout)
    return folder / "nightreel.bash"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ('nightreel ""', "every command"),
        ("nightreel sc", "score schedule scorecard"),
        ("nightreel --home x roll", "rollback"),
        ("nightreel db up", "upgrade"),
        ("nightreel score --home x --as", "--as-of"),
        ("nightreel show 14 --li", "--limit"),
    ],
)
def test_bash_completes_commands_and_options(script: Path, words: str, found: str) -> None:
    asked = ASK.format(script=script, words=words)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=30)
    if found == "every command":
        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        assert set(commands) <= set(done.stdout.split())
    else:
        assert done.stdout.split() == found.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_every_command(shell: str, tmp_path: Path) -> None:
    done = _nightreel("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f" {command} " in done.stdout.replace("\n", " ").replace('"', " ")


def test_an_unknown_shell_is_refused(tmp_path: Path) -> None:
    assert _nightreel("completion", "csh", cwd=tmp_path).returncode == 2
