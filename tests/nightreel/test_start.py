"""Commands start without what they do not need: every second of it is paid at every call."""

import subprocess
import sys
from pathlib import Path

import pytest

_HEAVY = ("feast", "lightgbm", "sklearn", "implicit", "ray")
_FEAST_CHECKS_TYPES = """
import feast

print("typeguard" in feast.FeatureView.__init__.__code__.co_names)
"""
_TYPEGUARD_CHECKS = """
import feature_repo
import typeguard
from pathlib import Path

Path("own.py").write_text("import typeguard\\n@typeguard.typechecked\\ndef own(number: int) -> None: ...\\n")
import own

try:
    own.own("text")
except typeguard.TypeCheckError:
    print("checks")
"""


@pytest.mark.parametrize(
    "command",
    [
        "--version",
        "score --help",
        "settings",
        "status",
        "runs",
        "show 1",
        "score --replay 77",
        "score --as-of tomorrow",
        "score --known-at 2020-08-15T02:00:00Z",
    ],
)
def test_a_command_that_scores_nothing_imports_nothing_for_it(command: str, tmp_path: Path) -> None:
    code = [sys.executable, "-X", "importtime", "-m", "nightreel", *command.split()]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "nightreel" in imported and done.returncode in (0, 1, 2)
    assert not imported.intersection(_HEAVY)


def _said(code: str, folder: Path) -> str:
    python = [sys.executable, "-c", code]
    return subprocess.run(python, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_feast_starts_without_its_checks_of_types_for_us_alone(tmp_path: Path) -> None:
    """They are most of the time that its import takes; other users of Feast and of typeguard have them."""
    assert _said("import feature_repo" + _FEAST_CHECKS_TYPES, tmp_path) == "False"
    assert _said(_FEAST_CHECKS_TYPES, tmp_path) == "True"
    assert _said(_TYPEGUARD_CHECKS, tmp_path) == "checks"
