"""The `nightreel` command: parses, calls a step, prints. Heavy imports wait until a command needs them.

A module for each group of commands; the help lists them in the order in which these are imported.
"""

import nightreel.core.environment  # noqa: F401  # isort: skip  # before NumPy is
from nightreel.cli.root import app  # isort: skip
from nightreel.cli import start, steps, nights, show, outcomes, lists  # noqa: F401  # isort: skip
from nightreel.cli import rules, models, upkeep, completion  # noqa: F401  # isort: skip
from nightreel.cli.entry import main  # isort: skip

__all__ = ["app", "main"]
