"""Who has played what, a bit for each user and video, set from plays batch by batch."""

from collections.abc import Iterable

import numpy as np

from nightreel.core.compiled import compiled
from pipelines.id_codes import IdCodes


def add_played(
    found: np.ndarray, plays: Iterable[tuple[np.ndarray, ...]], user_id: np.ndarray, video_id: np.ndarray
) -> None:
    """Set the bit of each of these users and videos that is among the plays.

    Args:
        found: uint8 [users, videos / 8], in the order of `np.packbits`; changed in place.
        plays: user_id and video_id of each batch, int64.
    """
    users, videos = IdCodes(user_id), IdCodes(video_id)
    for user, video in plays:
        row, has_row = users.known(user)
        column, has_column = videos.known(video)
        _set(found, row, column, has_row & has_column)


@compiled
def _set(found: np.ndarray, row: np.ndarray, column: np.ndarray, is_asked: np.ndarray) -> None:
    """Set the bit of each pair that is asked for.

    Args:
        found: uint8 [users, videos / 8], changed in place.
        row, column: int64 [pairs].
        is_asked: bool [pairs].
    """
    for pair in range(len(row)):
        if is_asked[pair]:
            # unpackbits has the first video in the highest bit.
            found[row[pair], column[pair] >> 3] |= np.uint8(128 >> (column[pair] & 7))
