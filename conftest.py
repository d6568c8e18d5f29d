"""Loaded before the tests' own, so that `feast_asof` is the package and not the folder of its project.

pytest names a test file by its folders and makes modules of those that are not imported yet.
"""

import feast_asof  # noqa: F401
