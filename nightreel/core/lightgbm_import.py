"""Importing this imports LightGBM without scikit-learn, which only classes need that nothing here uses.

Its import of scikit-learn takes .8 of .9 s of processor time at the start of a command. Where scikit-learn is
imported already, LightGBM finds it. Import this before the first `import lightgbm`.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType


class _WithoutScikitLearn(MetaPathFinder):
    """Hides scikit-learn from the imports of one thread; others may import it meanwhile."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Never finds anything.

        Raises:
            ModuleNotFoundError: for scikit-learn, which LightGBM takes to mean that it is not installed.
        """
        if fullname == "sklearn" and get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is hidden from LightGBM", name=fullname)
        return None


def _import_lightgbm() -> None:
    if "lightgbm" in sys.modules:
        return
    hidden = _WithoutScikitLearn()
    sys.meta_path.insert(0, hidden)
    try:
        import lightgbm  # noqa: F401
    finally:
        sys.meta_path.remove(hidden)


_import_lightgbm()
