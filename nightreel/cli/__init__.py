"""The `nightreel` command: parses, calls a step, prints. Heavy imports wait until a command needs them.

A module for each group of commands; the help lists them in the order in which these are imported.
"""

import os

# implicit's ALS is slowed tenfold by a threaded BLAS; this must be set before NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# LightGBM's threads otherwise spin while they wait: on a busy machine training took 414 s instead of 120 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from nightreel.cli.root import app  # isort: skip
from nightreel.cli import start, steps, nights, show, outcomes, lists  # noqa: F401  # isort: skip
from nightreel.cli import rules, models, upkeep, completion  # noqa: F401  # isort: skip
from nightreel.cli.entry import main  # isort: skip

__all__ = ["app", "main"]
