"""Commands start without what they do not need: every second of it is paid at every call."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_COMMANDS = (
    "--version",
    "score --help",
    "settings",
    "status",
    "runs",
    "show 1",
    "score --replay 77",
    "score --as-of tomorrow",
    "score --known-at 2020-08-15T02:00:00Z",
)
_HEAVY = ("feast", "lightgbm", "sklearn", "implicit", "ray")
# One after the other, so that each pays for its own imports alone.
_EACH = """
import contextlib, io, json, sys
from nightreel.cli import main

found = {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["nightreel", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found[command] = [code, list(sys.modules)]
print(json.dumps(found))
"""
_FEAST_CHECKS_TYPES = """
import feast

print("typeguard" in feast.FeatureView.__init__.__code__.co_names)
"""
_TYPEGUARD_CHECKS = """
import typeguard
from pathlib import Path

import pytest

Path("own.py").write_text("import typeguard\\n@typeguard.typechecked\\ndef own(number: int) -> None: ...\\n")
import own

try:
    own.own("text")
except typeguard.TypeCheckError:
    print("checks")
"""
_SCIKIT_LEARN = """
import sys
import pipelines.features

print("sklearn" in sys.modules)
"""


def test_a_command_that_scores_nothing_imports_nothing_for_it(tmp_path: Path) -> None:
    found = json.loads(_said(_EACH, tmp_path, json.dumps(_COMMANDS)))
    for command in _COMMANDS:
        code, imported = found[command]
        assert "nightreel.cli" in imported and code in (0, 1, 2), command
        assert not set(imported).intersection(_HEAVY), command


def _said(code: str, folder: Path, *arguments: str) -> str:
    python = [sys.executable, "-c", code, *arguments]
    return subprocess.run(python, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_feast_starts_without_its_checks_of_types_for_us_alone(tmp_path: Path) -> None:
    """They are most of the time that its import takes; other users of Feast and of typeguard have them."""
    ours = _said("import feature_repo" + _FEAST_CHECKS_TYPES + _TYPEGUARD_CHECKS, tmp_path)
    assert ours.splitlines() == ["False", "checks"]


def test_features_start_without_scikit_learn(tmp_path: Path) -> None:
    assert _said(_SCIKIT_LEARN, tmp_path) == "False"


@pytest.mark.slow
def test_feast_alone_starts_with_its_checks_of_types(tmp_path: Path) -> None:
    assert _said(_FEAST_CHECKS_TYPES, tmp_path) == "True"
