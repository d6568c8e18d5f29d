"""What users have seen, a bit for each video: in memory, or in the file that the features keep."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # `status` imports this module, and nothing that fits or scores
    from pipelines.features.stored_pairs import StoredBits


@dataclass(frozen=True)
class SeenBits:
    """A row of bits for each user.

    Attributes:
        rows: uint8 [users, videos / 8], the bits themselves, in the order of `pair_bits`; or, if they are
            stored, int64 [users], each user's row of the file, negative for one who has none.
        stored: the file; None if the bits are in memory.
    """

    rows: np.ndarray
    stored: "StoredBits | None" = None

    @classmethod
    def none(cls, users: int, videos: int) -> "SeenBits":
        """Nobody has seen anything."""
        return cls(np.zeros((users, -(-videos // 8)), dtype=np.uint8))

    def of(self, users: np.ndarray | slice | int) -> np.ndarray:
        """The bits of some users, by index: uint8 [users, videos / 8], or of one [videos / 8].

        Raises:
            NightreelError: this came from another process, and the file is missing here or was replaced.
        """
        if self.stored is None:
            found: np.ndarray = self.rows[users]
            return found
        found = self.stored.read(np.atleast_1d(self.rows[users]))
        return found[0] if isinstance(users, int) else found

    def in_memory(self) -> "SeenBits":
        """The same, with the bits themselves."""
        return self if self.stored is None else SeenBits(self.stored.read(self.rows))

    def of_users(self, chosen: np.ndarray | slice) -> "SeenBits":
        """The same for some of the users: bool [users], or their indices."""
        return replace(self, rows=self.rows[chosen])
