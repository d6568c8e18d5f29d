"""Finds a user's id in text: as a number of its own, however it is written."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property


@dataclass(frozen=True)
class Person:
    """The user who is to be forgotten. The id is in no message, log line or record."""

    user_id: int

    @cached_property
    def token(self) -> re.Pattern[str]:
        """The id where no other digit is beside it."""
        sign = "-" if self.user_id < 0 else ""
        return re.compile(rf"(?<![0-9]){sign}0*{abs(self.user_id)}(?![0-9])")

    @cached_property
    def token_bytes(self) -> re.Pattern[bytes]:
        """The same in bytes."""
        return re.compile(self.token.pattern.encode())

    def is_in(self, text: str) -> bool:
        """Whether the id stands in a text."""
        return self.token.search(text) is not None

    def is_number(self, text: str) -> bool:
        """Whether a field is the id, also as 5109.0, +5109 or 5.109E3."""
        try:
            return Decimal(text.strip()) == self.user_id
        except (InvalidOperation, ValueError):
            return False
