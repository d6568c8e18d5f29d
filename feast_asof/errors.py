"""What the store raises for input that it cannot join."""


class AsOfError(ValueError):
    """Input that cannot be joined: one line that names the view, the column and the path."""
