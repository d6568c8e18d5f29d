"""Loaded before the tests' own, so that `feast_asof` is the package and not the folder of its project.

pytest names a test file by its folders and makes modules of those that are not imported yet.
"""

# Before anything imports Feast: as in the command, without its checks of types, which take a third of what
# small homes take. feast_asof's own tests run in a session of their own, with them.
import feature_repo  # noqa: F401  isort: skip
import feast_asof  # noqa: F401
