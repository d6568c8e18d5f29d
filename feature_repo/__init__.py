"""Feast definitions: entities, sources, views, on-demand views and the feature service.

Importing this package imports Feast without its checks of types at run time. Feast decorates its classes
with typeguard's `typechecked`, which parses and compiles the whole module again for each of their methods:
3.6 of the 4 s of processor time that the import takes at the start of a command. `python -O` leaves these
checks out too; what Feast gets from us is checked by mypy and by the catalogue. A process that imports Feast
first, such as the command `feast`, keeps them.
"""

import sys
from typing import Any


def _import_feast() -> None:
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked

    def unchecked(target: Any = None, **_options: Any) -> Any:
        """The decorator without effect, with or without options."""
        return (lambda decorated: decorated) if target is None else target

    typeguard.typechecked = unchecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checked


_import_feast()
