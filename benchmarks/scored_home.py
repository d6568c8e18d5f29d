"""A home that is ready to be scored, for the benchmarks: its champion, and what it is asked about."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from feature_repo.open_store import store as open_store
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.rankers import HybridRanker
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import default_as_of, find_candidates


@dataclass(frozen=True)
class ScoredHome:
    """As of the end of the home's log. model_folder: of the champion, which `ranker` is, on one thread."""

    model_folder: Path
    ranker: HybridRanker
    candidates: Candidates
    joined: JoinedFeatures

    @classmethod
    def load(cls, settings: Settings) -> "ScoredHome":
        """NIGHTREEL_HOME has to be that of the settings. The home is only read."""
        store, as_of = open_store(), default_as_of(settings.paths, settings.data, datetime.now(UTC))
        model_folder = model_registry.champion(settings.paths).folder
        ranker = HybridRanker.load(model_folder, threads=1)
        candidates = find_candidates(settings, store, as_of)
        ids = (candidates.user_id, candidates.video_id)
        joined = join_features(store, ranker.encoding, *ids, as_of=as_of, zone=settings.data.zone)
        return cls(model_folder, ranker, candidates, joined)

    def with_users(self, some: np.ndarray | slice) -> "ScoredHome":
        """The same with some of the users only, by their positions."""
        joined = self.joined
        return replace(
            self,
            candidates=self.candidates.of_users(some),
            joined=replace(
                joined,
                users=replace(joined.users, values=joined.users.values[some]),
                user_factors=joined.user_factors[some],
            ),
        )
