"""The error that the store raises for input that it cannot join."""


class AsOfError(ValueError):
    """Input that cannot be joined; the message is one line that names the view, the column and the path."""

    def __init__(self, message: str) -> None:
        # Errors of Arrow and pandas, quoted at the end, may go on for lines.
        super().__init__(message.partition("\n")[0])


class SourceMissingError(AsOfError):
    """There is no parquet at the path of a source or an entity dataframe."""
