"""Finds a user's id in text: as a number of its own, however it is written, or as a word."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property

_EXPONENT = (b"e", b"E")


@dataclass(frozen=True)
class Person:
    """The user to be forgotten. The id never appears in a message, log line or record."""

    user_id: int | str
    # The code of a user whose id is text; None if no table has the user.
    code: int | None = None

    @cached_property
    def token(self) -> re.Pattern[str]:
        """Matches the id with no other digit beside it; for a text id, no letter, digit or dash."""
        if isinstance(self.user_id, str):
            return re.compile(rf"(?<![\w-]){re.escape(self.user_id)}(?![\w-])")
        sign = "-" if self.user_id < 0 else ""
        return re.compile(rf"(?<![0-9]){sign}0*{abs(self.user_id)}(?![0-9])")

    @cached_property
    def token_bytes(self) -> re.Pattern[bytes]:
        """The same in bytes."""
        return re.compile(self.token.pattern.encode())

    @property
    def key(self) -> int | None:
        """The user's code in tables."""
        return self.code if isinstance(self.user_id, str) else self.user_id

    def may_be_in(self, record: bytes) -> bool:
        """Whether a CSV record may contain the id, in whatever notation."""
        if isinstance(self.user_id, str):
            return self.user_id.encode() in record or (b'"' in record and '"' in self.user_id)
        return self.token_bytes.search(record) is not None or any(mark in record for mark in _EXPONENT)

    def is_in(self, text: str) -> bool:
        """Whether a text contains the id."""
        return self.token.search(text) is not None

    def is_id(self, text: str) -> bool:
        """Whether a field is the id, also as 5109.0, +5109 or 5.109E3; a text id must match exactly."""
        if isinstance(self.user_id, str):
            return text == self.user_id
        try:
            return Decimal(text.strip()) == self.user_id
        except (InvalidOperation, ValueError):
            return False
