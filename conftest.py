"""Loaded before the tests' own, so that `feast_asof` is the package and not the folder of its project.

pytest names a test file by its folders and makes modules of those that are not imported yet.
"""

import gc
import os

# A tenth of the tests' time went into looking through imported modules for garbage, again and again.
gc.disable()

# As `nightreel.cli` sets them before NumPy is imported: spinning threads take a third of a small home's time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# One thread of Polars takes a fifth less for small tables. The commands that tests run have all of them.
os.environ["POLARS_MAX_THREADS"] = "1"
import polars as pl  # noqa: E402  isort: skip

pl.thread_pool_size()  # reads the variable, once
del os.environ["POLARS_MAX_THREADS"]

# Before anything imports Feast: as in the command, without its checks of types, which take a third of what
# small homes take. feast_asof's own tests run in a session of their own, and see to it themselves.
import feature_repo  # noqa: E402, F401  isort: skip
import feast_asof  # noqa: E402, F401


def pytest_collection_finish() -> None:
    """From here on garbage is looked for, though not among all that was imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
