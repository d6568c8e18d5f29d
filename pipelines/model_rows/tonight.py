"""The night as of any instant, from the whole log, for scoring and the backtest."""

from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core.settings.needs import SourceNeeds
from pipelines.hashing import uniform_hash
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.night import Night
from pipelines.retrieval.fits import last_cutoff
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.training_frame import read_plays

__all__ = ["drawn_users", "night_as_of", "read_plays"]


def night_as_of(
    plays: pl.DataFrame,
    as_of: datetime,
    joined: JoinedFeatures,
    listable: pl.DataFrame,
    settings: SourceNeeds,
    *,
    user_id: np.ndarray,
) -> Night:
    """The sources as of the local midnight at or before an instant, the histories up to the instant.

    Args:
        plays: the whole log, as `read_plays` gives it.
        joined, listable: of the users and videos that are scored, as `Night.of` takes them.
        user_id: int64, these users; the night knows the histories of nobody else.
    """
    past = Past.of(plays, as_of, settings.data)
    cutoff = last_cutoff(as_of, settings.data)
    fitted = past if past.cutoff == cutoff else Past.of(plays, cutoff, settings.data)
    return Night.of(fitted, PlaysByUser(past, user_id), joined, listable, settings)


def drawn_users(user_id: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Indices of at most this many users, ascending: chosen by a hash of their ids."""
    order = np.argsort(uniform_hash(user_id.astype(np.uint64), seed), kind="stable")
    return np.sort(order[:most])
