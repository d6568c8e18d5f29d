"""Libraries read their variables when they are first imported, so these are set before."""

import os
import subprocess
import sys

import pytest

from nightreel.core.environment import ENVIRONMENT

_SCRIPT = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "polars"):
            print(name, *(os.environ.get(one) for one in sys.argv[1:]))
            sys.exit()
sys.meta_path.insert(0, Watch())
import {module}, polars
"""


@pytest.mark.parametrize("module", ["nightreel.cli", "nightreel.operations.night"])
def test_variables_are_set_before_numpy_and_polars_are_imported(module: str) -> None:
    command = [sys.executable, "-c", _SCRIPT.format(module=module), *ENVIRONMENT]
    own = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    said = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split()[1:] == list(ENVIRONMENT.values())
    own["OPENBLAS_NUM_THREADS"] = "3"
    said = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split()[1] == "3"
