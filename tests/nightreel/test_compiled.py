"""Compiled loops need no place for their cache."""

from collections.abc import Callable

import numpy as np

from nightreel.core.compiled import compiled


def test_a_loop_is_compiled_where_nothing_can_be_kept() -> None:
    """As in a container that is read-only: numba finds no folder for a function of no file."""
    found: dict[str, Callable[..., None]] = {}
    exec("def double(values):\n    for at in range(len(values)):\n        values[at] *= 2\n", found)
    values = np.arange(3)
    compiled(found["double"])(values)
    assert values.tolist() == [0, 2, 4]
