"""The facts that the scoring step reports: the run, its inputs, and what was written."""

from collections.abc import Mapping
from typing import Any

from nightreel.core.steps import Facts


class ScoreFacts(Facts):
    """The facts of a score; for lists that existed already, only the run and its instants are set.

    Attributes:
        run_id: None for a dry run.
        as_of, known_at: ISO 8601.
        seconds: of each stage.
        arms: number of users per arm of an experiment.
    """

    run_id: int | None
    status: str
    as_of: str
    known_at: str | None = None
    model: str | None = None
    users: int | None = None
    videos: int | None = None
    arms: Mapping[str, int] | None = None
    rows: int | None = None
    rows_by_source: Mapping[str, int] | None = None
    related_rows: int | None = None
    popular_rows: int | None = None
    seconds: Mapping[str, float] | None = None
    database: str

    def printed(self) -> dict[str, Any]:
        """The facts in the order in which they are printed: the run first, even if it is None."""
        return {"run_id": self.run_id, **super().printed()}

    @property
    def rows_written(self) -> int | None:
        """Number of rows of the lists."""
        return self.rows

    @property
    def part_seconds(self) -> Mapping[str, float] | None:
        """Seconds of preparing, writing, auditing and pruning."""
        return self.seconds

    @property
    def lists_run(self) -> int | None:
        """The run's id."""
        return self.run_id

    @property
    def made_before(self) -> str:
        """For a skipped score: which run has these lists."""
        return f"run {self.run_id}, {self.status}"
