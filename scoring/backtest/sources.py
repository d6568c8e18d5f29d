"""Each candidate source alone: its own order of what a user has not played, without any ranker."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.instants import unix_us
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.night import Night
from scoring.backtest.night import PastNight

_BLOCK_USERS = 256


def lists_of_sources(night: PastNight, names: Mapping[str, str]) -> Iterator[Mapping[str, pl.DataFrame]]:
    """Each user's first `depth` unseen videos by the score of each candidate source.

    Args:
        names: system name -> name of its source.

    Yields:
        Blocks of users: system name -> user_id, rank, video_id. A video with score 0 is not listed; ties go
        to the video rated higher by all users.
    """
    made, candidates = night.night, night.candidates

    def block(start: int) -> Mapping[str, pl.DataFrame]:
        users = slice(start, min(start + _BLOCK_USERS, len(candidates.user_id)))
        user_id = candidates.user_id[users]
        instants = np.full(len(user_id), unix_us(night.day.as_of))
        histories = made.plays.histories(user_id, instants, made.plays_columns, len(made.catalogue))
        seen = np.unpackbits(candidates.seen.of(users), axis=1, count=len(candidates.video_id))
        opened = np.zeros((len(user_id), len(made.catalogue)), dtype=bool)
        opened[:, made.is_listable] = seen[:, made.joined_video[made.is_listable]] == 0
        found = {}
        for system, source in names.items():
            scores = made.sources[source].scores(histories)
            best = [
                made.best_of(source, of_user, of_open, night.depth)
                for of_user, of_open in zip(scores, opened, strict=True)
            ]
            found[system] = _ordered(scores, best, user_id, made)
        return found

    starts = range(0, len(candidates.user_id), _BLOCK_USERS)
    return made_in_order(block, starts, night.settings.threads)


def _ordered(
    scores: np.ndarray, best: Sequence[np.ndarray], user_id: np.ndarray, night: Night
) -> pl.DataFrame:
    """Each user's best videos in the order of their scores: user_id, rank, video_id.

    Args:
        scores: [users, videos of the catalogue].
        best: of each user, positions in the catalogue.
    """
    received = night.catalogue.received
    videos = [
        own[np.lexsort((own, -received[own], -of_user[own]))]
        for of_user, own in zip(scores, best, strict=True)
    ]
    lengths = [len(one) for one in videos]
    rank = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
    return pl.DataFrame(
        {
            columns.USER_ID: np.repeat(user_id, lengths),
            "rank": np.concatenate(rank),
            columns.VIDEO_ID: night.catalogue.video_id[np.concatenate(videos)],
        }
    )
