"""nightreel and feast_asof are two distributions, of which the first needs the second."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECTS = {"nightreel": ROOT, "feast-asof": ROOT / "feast_asof"}


def _wheel(project: Path, out: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def _project(name: str) -> dict[str, object]:
    text = (PROJECTS[name] / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, object] = tomllib.loads(text)["project"]
    return project


def test_each_package_is_in_one_wheel_and_nightreels_names_the_other(tmp_path: Path) -> None:
    """Installed side by side, no file belongs to both; tests belong to neither."""
    packages = {}
    for name, project in PROJECTS.items():
        with _wheel(project, tmp_path / name) as wheel:
            names = wheel.namelist()
            (metadata,) = (one for one in names if one.endswith(".dist-info/METADATA"))
            packages[name] = {one.split("/")[0] for one in names if ".dist-info" not in one}
            if name == "nightreel":
                needed = message_from_string(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
    assert packages == {
        "nightreel": {"nightreel", "pipelines", "scoring", "feature_repo", "synthetic"},
        "feast-asof": {"feast_asof"},
    }
    (asof,) = (Requirement(one) for one in needed if re.match(r"feast-asof[>=<]", one))
    assert asof.specifier.contains(str(_project("feast-asof")["version"]))


@pytest.mark.parametrize(
    "lock",
    ["requirements.lock", "requirements-ray.lock", "requirements-sequence.lock", "requirements-dev.lock"],
)
def test_the_locked_versions_are_those_that_both_accept(lock: str) -> None:
    """What installs the one from a lock file installs the other beside it."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, flags=re.MULTILINE))
    asof = _project("feast-asof")
    extras = [one for group in asof["optional-dependencies"].values() for one in group]  # type: ignore[attr-defined]
    for one in map(Requirement, [*asof["dependencies"], *extras]):  # type: ignore[misc]
        if one.name in pins:
            assert one.specifier.contains(pins[one.name]), f"{lock}: {one} against {pins[one.name]}"
    assert "feast-asof" not in pins, "a folder has no hash; the Makefile installs it as it does nightreel"
