"""The transformer over plays as one of the systems that put pairs in order."""

import numpy as np

from nightreel.core import columns
from nightreel.core.instants import unix_us
from nightreel.core.settings.needs import SourceNeeds
from pipelines.evaluate.protocols import Pairs
from pipelines.retrieval.fits import fitted_arrays, last_cutoff, source_names
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sequence.source import NAME
from pipelines.retrieval.sources import Catalogue
from pipelines.user_sample import UserSample

_BLOCK_USERS = 64


def transformer_scores(pairs: Pairs, settings: SourceNeeds) -> np.ndarray | None:
    """The score of each pair as of the pairs' instant: float64 [pairs].

    Returns:
        None where `sequence` is not among the candidate sources, or did not beat popularity on its stop day.
    """
    if NAME not in source_names(settings.retrieval):
        return None
    log, cutoff = UserSample.of(settings).read(settings.paths), last_cutoff(pairs.as_of, settings.data)
    past = Past.of(log, pairs.as_of, settings.data)
    fitted = past if past.cutoff == cutoff else Past.of(log, cutoff, settings.data)
    arrays = fitted_arrays(fitted, settings, (NAME,))[NAME]
    if not arrays["used"]:
        return None
    users, starts = np.unique(pairs.rows[columns.USER_ID].to_numpy(), return_index=True)
    video_id = pairs.rows[columns.VIDEO_ID].to_numpy()
    catalogue = np.union1d(past.video_id, video_id)
    position, video = np.searchsorted(catalogue, past.video_id), np.searchsorted(catalogue, video_id)
    unknown = np.full(len(catalogue), -1, dtype=np.int64)
    source = SOURCES[NAME].over(arrays, Catalogue(catalogue, position, unknown, unknown, unknown, unknown))
    plays, borders = PlaysByUser(past), np.append(starts, len(video))
    instant_us = unix_us(pairs.as_of)
    found = np.empty(len(video))
    for start in range(0, len(users), _BLOCK_USERS):
        of_block = users[start : start + _BLOCK_USERS]
        rows = slice(borders[start], borders[start + len(of_block)])
        instants = np.full(len(of_block), instant_us)
        scores = source.scores(plays.histories(of_block, instants, position, len(catalogue)))
        user = np.repeat(np.arange(len(of_block)), np.diff(borders[start : start + len(of_block) + 1]))
        found[rows] = scores[user, video[rows]]
    return found
