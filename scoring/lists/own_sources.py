"""A user's own candidate sources in the union of the setting `candidates`: their scores for one user."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from nightreel.core.errors import InputError
from nightreel.core.settings import CANDIDATE_SOURCES, RankerSettings, RetrievalSettings
from nightreel.core.settings.needs import SourceNeeds
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.tonight import read_plays
from pipelines.retrieval.fits import fitted_arrays, last_cutoff
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import source_of
from pipelines.retrieval.sources import Catalogue, Fitted
from scoring.lists.candidates import Candidates


def own_candidates(settings: RetrievalSettings) -> tuple[str, ...]:
    """The own candidate sources that the setting `candidates` names."""
    names = settings.candidates.split(",")
    return tuple(name for name in names if name != "all" and name not in CANDIDATE_SOURCES)


def refuse_on_ray(retrieval: RetrievalSettings, ranker: RankerSettings) -> None:
    """Raise InputError if own models would have to run on a cluster."""
    own = [
        *own_candidates(retrieval),
        *([ranker.last_stage] if ranker.last_stage else []),
    ]
    if own:
        raise InputError(
            f"{', '.join(own)}: own models score in this process, not on Ray.",
            'Set engine = "local", or take them out of candidates and last_stage.',
        )


@dataclass(frozen=True)
class OwnSources:
    """Own candidate sources, fitted on plays before the night's midnight, over all played or listed videos.

    Attributes:
        plays: those before the night's instant.
        listed: int64, index of each candidate video in the catalogue.
    """

    fitted: Mapping[str, Fitted]
    plays: PlaysByUser
    columns: np.ndarray
    listed: np.ndarray
    videos: int
    as_of_us: int

    @classmethod
    def of(
        cls, candidates: Candidates, joined: JoinedFeatures, as_of: datetime, settings: SourceNeeds
    ) -> "OwnSources | None":
        """Fit the sources, or read fitted ones; None if the settings name none."""
        names = own_candidates(settings.retrieval)
        if not names:
            return None
        log = read_plays(settings.paths)
        past = Past.of(log, as_of, settings.data)
        fitted_on = Past.of(log, last_cutoff(as_of, settings.data), settings.data)
        video_id = np.union1d(past.video_id, candidates.video_id)
        listed = np.searchsorted(video_id, candidates.video_id)
        unknown = np.full(len(video_id), -1, dtype=np.int64)
        received = unknown.copy()
        received[listed] = joined.received()
        at = np.searchsorted(video_id, fitted_on.video_id)
        catalogue = Catalogue(video_id, at, unknown, unknown, unknown, received)
        arrays = fitted_arrays(fitted_on, settings, names)
        return cls(
            {name: source_of(name).over(arrays[name], catalogue) for name in names},
            PlaysByUser(past),
            np.searchsorted(video_id, past.video_id),
            listed,
            len(video_id),
            past.cutoff_us,
        )

    def scores(self, name: str, user_id: int) -> np.ndarray:
        """A source's score of each candidate video for a user, 0 if not recommended: float32 [videos]."""
        user, instant = np.array([user_id]), np.array([self.as_of_us])
        histories = self.plays.histories(user, instant, self.columns, self.videos)
        found: np.ndarray = self.fitted[name].scores(histories)[0, self.listed]
        return found
