"""Who has played what, a bit for each user and video, set from plays batch by batch."""

from collections.abc import Iterable

import numpy as np

from pipelines.id_codes import IdCodes
from pipelines.pair_bit_loops import set_bits


def add_played(
    found: np.ndarray, plays: Iterable[tuple[np.ndarray, ...]], user_id: np.ndarray, video_id: np.ndarray
) -> None:
    """Set the bit of each of these users and videos that is among the plays.

    Args:
        found: as `pair_bits` orders them; changed in place.
        plays: user_id and video_id of each batch, int64.
    """
    users, videos = IdCodes(user_id), IdCodes(video_id)
    for user, video in plays:
        row, has_row = users.known(user)
        column, has_column = videos.known(video)
        set_bits(found, row, column, has_row & has_column)
