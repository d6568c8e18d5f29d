"""The package is a distribution of its own, which is all that a Feast project needs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def _build(project: Path, out: Path, kind: str) -> Path:
    """The wheel or sdist, built without a registry."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(out)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (built,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@pytest.mark.slow
def test_the_wheel_made_of_the_sdist_joins_alone(tmp_path: Path) -> None:
    """Every module is in it, and what the README shows works in a process that has it and not this folder."""
    leave = shutil.ignore_patterns("__pycache__", ".venv*", "dist")
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=leave)
    with tarfile.open(_build(project, tmp_path / "sdist", "sdist")) as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(_build(unpacked, tmp_path / "wheel", "wheel")) as wheel:
        wheel.extractall(tmp_path / "installed")
    installed = tmp_path / "installed"
    package = PROJECT / "src" / "feast_asof"
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py*") if path.suffix != ".pyc"}
    assert {str(path.relative_to(installed / "feast_asof")) for path in installed.rglob("*.py*")} == modules
    (block,) = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), flags=re.DOTALL)
    own = "import sys, feast_asof\nassert feast_asof.__file__.startswith(sys.path[1]), feast_asof.__file__\n"
    (tmp_path / "readme.py").write_text(
        own + block + "\nassert not {'nightreel', 'pipelines', 'polars'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "readme.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0.2, 0.1, 0.3, None]"
    (metadata,) = installed.glob("*.dist-info/METADATA")
    said = message_from_string(metadata.read_text())
    assert said["Name"] == "feast-asof"
    assert said["License-Expression"] == "Apache-2.0"
