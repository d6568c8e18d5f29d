"""A password in the database's URL comes out of no command: not in output, errors, tracebacks or files."""

import sys
import traceback
from pathlib import Path

import pytest

from nightreel import cli
from nightreel.operations import stages

SECRET = "s3cr3t/w0rd"
QUOTED = "s3cr3t%2Fw0rd"
# Nobody listens on port 1; the others cannot be used at all.
URLS = {
    "away": f"postgresql+psycopg://reader:{QUOTED}@127.0.0.1:1/lists",
    "other database": f"mysql://reader:{QUOTED}@127.0.0.1/lists",
    "bad port": f"postgresql+psycopg://reader:{SECRET}@127.0.0.1:port/lists",
    "no scheme": f"reader:{QUOTED}@127.0.0.1/lists",
    "among the options": f"postgresql+psycopg://reader@127.0.0.1:1/lists?password={QUOTED}",
    "bad option": f"postgresql+psycopg://reader:{QUOTED}@127.0.0.1:1/lists?no_such={QUOTED}",
}
COMMANDS = {
    "score": 2,
    "show 14": None,
    "db upgrade": None,
    "runs": None,
    "rollback 1": None,
    "schedule --once": None,
    "status": None,
    "status --json": None,
    "settings": 0,
    "settings --json": 0,
    "doctor": 1,
    "doctor --json": 1,
    "--debug runs": None,
    "--debug db upgrade": None,
    "--debug status": None,
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the command line in this process; all that it says, and its exit code."""
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    monkeypatch.setattr(stages, "RETRIES", 0)
    monkeypatch.setenv("NIGHTREEL_DEBUG_TRACEBACKS", "")

    def run(line: str, url: str) -> tuple[str, object]:
        monkeypatch.setenv("NIGHTREEL_DATABASE_URL", url)
        monkeypatch.setattr(sys, "argv", ["nightreel", *line.split()])
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        except Exception:
            code = 1
            traceback.print_exc()
        out, err = capfd.readouterr()
        written = [
            path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
        ]
        return "\n".join([out, err, *written]), code

    return run


# A job's process takes seconds: once will do, and it tries a database that is away for five minutes.
CASES = [
    *((line, url) for line in COMMANDS for url in URLS if line != "schedule --once"),
    *(pytest.param("schedule --once", url, marks=pytest.mark.slow) for url in ("other database", "away")),
]


@pytest.mark.parametrize(("line", "url"), CASES)
def test_no_command_prints_the_password(line: str, url: str, said) -> None:
    text, code = said(line, URLS[url])
    assert SECRET not in text
    assert QUOTED not in text
    assert "s3cr3t" not in text
    assert text.strip()
    assert ("Traceback" in text) <= line.startswith("--debug")
    assert COMMANDS[line] in (None, code), text


def test_where_the_database_is_stays_in_the_error(said) -> None:
    text, code = said("runs", URLS["away"])
    assert code == 1
    assert "reader:***@127.0.0.1:1/lists" in text
    assert "Traceback" not in text


def test_a_webhook_with_a_token_is_masked(said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_SCHEDULE_ON_FAILURE", "https://hooks.example/T0KEN")
    text, _ = said("settings", "sqlite:///lists.sqlite")
    assert "T0KEN" not in text


AT_SIGNS = {
    "in an option, without a user": "postgresql+psycopg://127.0.0.1:1/lists?password=s3cr3t@t4il&user=reader&sslpassword=t4il",
    "in an option before the password": "postgresql+psycopg://127.0.0.1?user=a@b&password=s3cr3t",
    "in the password": "postgresql+psycopg://reader:s3cr3t@t4il@3nd@127.0.0.1:1/lists",
    "short scheme": "postgres://reader:s3cr3t@t4il@3nd@127.0.0.1:1/lists",
    "with a slash": "postgresql+psycopg://reader:s3cr3t@t4il/3nd@127.0.0.1:1/lists",
    "with a question mark": "postgresql+psycopg://reader:s3cr3t@t4il?3nd@127.0.0.1:1/lists",
    "in an option": "postgresql+psycopg://reader@127.0.0.1:1/lists?password=s3cr3t@t4il",
    "other database": "mysql://reader:s3cr3t@t4il@3nd@127.0.0.1/lists",
}


@pytest.mark.parametrize("url", AT_SIGNS)
@pytest.mark.parametrize("line", ["show 14", "status", "settings", "doctor", "db upgrade", "--debug runs"])
def test_no_piece_of_a_password_with_at_signs_is_printed(line: str, url: str, said) -> None:
    text, _ = said(line, AT_SIGNS[url])
    assert not [piece for piece in ("s3cr3t", "t4il", "3nd@", "/3nd") if piece in text], text


def test_a_password_with_at_signs_ends_at_the_last(said) -> None:
    text, code = said("runs", AT_SIGNS["in the password"])
    assert code == 1
    assert "reader:***@127.0.0.1:1/lists" in text


def test_where_a_password_ends_is_asked_for_where_it_cannot_be_told(said) -> None:
    for url in ("with a slash", "in an option, without a user", "in an option before the password"):
        text, code = said("runs", AT_SIGNS[url])
        assert code == 2
        assert "`@` as %40" in text
