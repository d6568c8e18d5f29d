"""What an export says: which run went out, and how much of it."""

from nightreel.core.steps import Facts


class ExportFacts(Facts):
    """lists: of a kind that are not a user's. since: the run that only changes were asked against.

    key: of Redis. feature_view: of Feast.
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
        """Rows of a file."""
        return self.rows

    @property
    def lists_run(self) -> int:
        """The run whose lists they are."""
        return self.run_id
