"""Errors that a user can act on: each says what, where and the remedy, and carries an exit code.

NightreelError (exit 1: the work failed)
├── InputError (exit 2: wrong use or wrong input; nothing was written)
├── AuditError (exit 1: a list failed its audit; the old one stays published)
└── BusyError (exit 3: another process holds what this one needs)
"""


class NightreelError(Exception):
    """A failure to report in one line, without a traceback: what went wrong and where, and the remedy."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InputError(NightreelError):
    """The command, a setting or an input file is wrong."""

    exit_code = 2


class AuditError(NightreelError):
    """The new lists failed a check, so the old ones stay published."""


class BusyError(NightreelError):
    """Another process holds what this one needs."""

    exit_code = 3
