"""The facts of an export: which run, and how much of it."""

from nightreel.core.steps import Facts


class ExportFacts(Facts):
    """The counts of an export.

    Attributes:
        lists: kind of the shared lists, if not users' lists were exported.
        since: the run that the exported changes are relative to.
        key: in Redis.
        feature_view: in Feast.
    """

    run_id: int
    status: str
    since: int | None = None
    lists: str | None = None
    users: int | None = None
    rows: int | None = None
    database: str | None = None
    key: str | None = None
    feature_view: str | None = None

    @property
    def rows_written(self) -> int | None:
        """Number of rows written to a file."""
        return self.rows

    @property
    def lists_run(self) -> int:
        """The run whose lists were exported."""
        return self.run_id
