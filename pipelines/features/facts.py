"""The facts that the step `features` and each of its parts report."""

from collections.abc import Mapping
from typing import Any

from nightreel.core.steps import Facts


class ViewFacts(Facts):
    """Rows of the sources of views, by the view's name."""

    rows_of_views: Mapping[str, int]

    def printed(self) -> dict[str, Any]:
        """Each view's rows under a name of its own."""
        return {f"{view}_rows": rows for view, rows in self.rows_of_views.items()}

    @property
    def rows_written(self) -> int:
        """Rows of all views."""
        return sum(self.rows_of_views.values())


class FeaturesFacts(Facts):
    """The facts of every part, in the order in which they ran."""

    parts: tuple[Facts, ...]

    def printed(self) -> dict[str, Any]:
        """All parts' facts together."""
        return {name: value for part in self.parts for name, value in part.printed().items()}

    @property
    def rows_written(self) -> int:
        """Rows of all sources that a part counts."""
        return sum(part.rows_written or 0 for part in self.parts)
