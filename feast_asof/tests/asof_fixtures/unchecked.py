"""Imported before Feast: it comes without its checks of types.

These take 4 of the 6 s of processor time of its import, and as much again of what is done with it.
"""

from typing import Any

import typeguard


def _unchecked(target: Any = None, **_options: Any) -> Any:
    return (lambda decorated: decorated) if target is None else target


typeguard.typechecked = _unchecked  # type: ignore[assignment]
