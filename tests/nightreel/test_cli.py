"""The command line: help everywhere, light to start, clear when misused."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import typer

from nightreel import __version__
from nightreel.cli import app, main
from tests.fixtures.fork_server import forks
from tests.fixtures.raw_log import RawLog

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
HEAVY = {"polars", "pandas", "pyarrow", "feast", "lightgbm", "implicit", "sklearn", "sqlalchemy", "scipy"}


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def _nightreel(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    return forks.run(["nightreel", *arguments], cwd=cwd, env=environment)


def test_help_imports_nothing_heavy() -> None:
    loaded = _python(
        "import sys\nfrom typer.testing import CliRunner\nfrom nightreel.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\nprint(*sys.modules)"
    ).split()
    assert not HEAVY & set(loaded)


def test_status_imports_only_what_it_reads_with() -> None:
    loaded = _python("import sys\nfrom nightreel.operations import status, status_words\nprint(*sys.modules)")
    assert not {"pandas", "pandera", "scipy", "feast", "lightgbm", "numba"} & set(loaded.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    done = _nightreel(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    for parameter in parameters:
        assert getattr(parameter, "help", None), f"{command}: {parameter.name} has no help"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme(command: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"nightreel {command}" in readme


def test_an_unknown_command_exits_with_2(tmp_path: Path) -> None:
    assert _nightreel("publich", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("instant", ["yesterday", "2020-08-15T02:00:00"])
def test_an_instant_without_sense_or_zone_is_refused(instant: str, tmp_path: Path) -> None:
    done = _nightreel("score", "--as-of", instant, cwd=tmp_path)
    assert done.returncode == 2
    assert "--as-of" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["features", "train", "evaluate", "score", "show 14", "ingest"])
def test_a_step_without_what_it_needs_says_what_to_run(command: str, tmp_path: Path) -> None:
    done = _nightreel(*command.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "nightreel" in done.stderr.splitlines()[-1]


def test_synthesize_never_replaces_files_that_it_did_not_make(tmp_path: Path) -> None:
    real = tmp_path / "raw" / "big_matrix.csv"
    real.parent.mkdir()
    real.write_text("user_id,video_id\n")
    done = _nightreel(
        "synthesize",
        "--users",
        "40",
        "--videos",
        "60",
        "--interactions",
        "2000",
        "--days",
        "21",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert real.read_text() == "user_id,video_id\n"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NIGHTREEL_RANKER_OBJECTIVE", "nonsense", "NIGHTREEL_RANKER_OBJECTIVE"),
        ("NIGHTREEL_OBJECTIVE", "nonsense", "NIGHTREEL_OBJECTIVE"),
        ("NIGHTREEL_DATABASE_URL", "postgresql://nowhere/x", "NIGHTREEL_DATABASE_URL: not read"),
    ],
)
def test_a_demo_reads_how_lists_are_made_and_names_what_it_leaves_aside(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    (tmp_path / "raw").mkdir()
    # So it ends before it begins.
    (tmp_path / "raw" / "big_matrix.csv").write_text("user_id,video_id\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("NIGHTREEL_")}
    command = ["nightreel", "demo", "--home", "."]
    done = forks.run(command, cwd=tmp_path, env={**environment, variable: value})
    assert done.returncode == 2
    assert said in done.stderr and "nowhere" not in done.stderr


def test_the_version_is_printed_by_the_command_and_by_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("nightreel")
    for command in ([script], [sys.executable, "-m", "nightreel"]):
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, f"nightreel {__version__}\n"), done.stderr


@pytest.mark.parametrize(
    "command",
    (
        "ingest",
        "features",
        "train",
        "evaluate",
        "report",
        "score",
        "run",
        "show 14",
        "runs",
        "rollback 1",
        "schedule --once",
        "status",
        "browse",
        "settings",
        "db upgrade",
        "tune",
    ),
)
def test_a_home_that_is_not_there_is_said_to_be_missing(command: str, tmp_path: Path) -> None:
    """And is not made: a name that was mistyped leaves nothing behind."""
    (tmp_path / "nightreel.toml").write_text("", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NIGHTREEL_HOME", raising=False)
        code, said = _in_process(f"{command} --home {tmp_path / 'typo'}")
    assert code == 2
    assert said == (
        f"nightreel: {tmp_path / 'typo'}: no such folder. Name the home with --home or NIGHTREEL_HOME, or "
        "create the folder.\n"
    )
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("command", ["ingest", "score", "status", "run"])
def test_a_home_that_is_a_file_is_said_to_be_one(command: str, tmp_path: Path) -> None:
    file = tmp_path / "nightreel.toml"
    file.write_text("", encoding="utf-8")
    code, said = _in_process(f"{command} --home {file}")
    assert (code, len(said.splitlines())) == (2, 1)
    assert said.startswith(f"nightreel: {file}: a file, not a folder. ")


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("1597449600", "These Unix seconds are written 2020-08-15T00:00:00Z."),
        ("1597449600123", "These Unix milliseconds are written 2020-08-15T00:00:00.123000Z."),
        ("20200815", "Write it like 2020-08-15T00:00:00+08:00, or 2020-08-15T00:00:00Z."),
        ("2020-08-15 02:00", "Write it like 2020-08-15T02:00:00+08:00, or 2020-08-15T02:00:00Z."),
        ("yesterday", "Write it like 2020-08-15T02:00:00+08:00."),
        ("inf", "Write it like 2020-08-15T02:00:00+08:00."),
    ],
)
def test_an_instant_that_is_none_is_quoted_with_how_to_write_it(
    written: str, remedy: str, tmp_path: Path
) -> None:
    done = _nightreel("score", "--as-of", written, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"nightreel: --as-of {written}: ") and done.stderr.endswith(f" {remedy}\n")


def test_doctor_says_that_the_home_is_not_there(tmp_path: Path) -> None:
    done = _nightreel("doctor", "--home", "typo", cwd=tmp_path)
    assert done.returncode == 1
    assert "typo: no such folder" in done.stdout
    assert not (tmp_path / "typo").exists()


def test_a_new_home_is_made_by_what_fills_it(tmp_path: Path) -> None:
    RawLog().write(tmp_path / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_DATA_RAW_DIR", str(tmp_path / "elsewhere"))
        patch.setenv("NIGHTREEL_DATA_MAX_REJECT_SHARE", "1")
        code, said = _in_process(f"ingest --home {tmp_path / 'new'}")
    assert code == 0, said
    assert list((tmp_path / "new" / "data" / "tables" / "interactions").glob("date=*/rows.parquet"))


@pytest.mark.parametrize("arguments", ["ingest -v", "-v ingest", "ingest --verbose"])
def test_paths_are_printed_only_when_asked_for(
    arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RawLog().write(tmp_path / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_HOME", str(tmp_path))
        assert _in_process("ingest")[0] == 0
        assert "/" not in capsys.readouterr().out.replace("n/a", "")
        assert _in_process(f"{arguments} --force")[0] == 0
        said = capsys.readouterr().out
    assert f"  read  {tmp_path / 'raw' / 'big_matrix.csv'}\n" in said
    assert f"  wrote {tmp_path / 'data' / 'tables' / 'interactions'}\n" in said


def _in_process(arguments: str) -> tuple[int, str]:
    """Exit code and standard error of the command in this process."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended, redirect_stderr(said):
        patch.setattr(sys, "argv", ["nightreel", *arguments.split()])
        patch.setenv("NIGHTREEL_HOME", os.environ.get("NIGHTREEL_HOME", ""))
        main()
    return int(ended.value.code or 0), said.getvalue()
