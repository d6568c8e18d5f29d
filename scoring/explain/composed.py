"""A run's night, composed again for one user, whose way through the stages is kept."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from feast import FeatureStore
from sqlalchemy import Row

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import NightNeeds
from pipelines.known import last_arrival
from pipelines.local_days import ALWAYS_KNOWN
from pipelines.model_registry import ModelVersion
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.model_rows.night import Night
from pipelines.model_rows.tonight import read_plays
from pipelines.rankers import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import NEXT_DAY, objective_of
from pipelines.retrieval.fits import without_sources
from scoring.lists import next_day, score
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import Exclusions, find_candidates
from scoring.lists.own_sources import OwnSources
from scoring.lists.retrieval import top_rated
from scoring.lists.trace import Trace


@dataclass(frozen=True)
class NightOfUser:
    """A run's night composed again for one user.

    Attributes:
        plays: the log up to the run's instant.
        user: index of the user in the candidates.
        trace: None if the list is the top rated videos.
    """

    settings: NightNeeds
    model: ModelVersion
    run: Row[Any]
    ranker: HybridRanker
    store: FeatureStore
    blocklist: np.ndarray
    profiles_at: datetime
    candidates: Candidates
    joined: JoinedFeatures
    plays: pl.DataFrame
    user: int
    user_id: int
    trace: Trace | None = None
    night: Night | None = None

    @classmethod
    def of(
        cls, settings: NightNeeds, model: ModelVersion, run: Row[Any], user_id: int, exclusions: Exclusions
    ) -> "NightOfUser":
        """Compose it as publishing does, but only for the users that this user's list depends on.

        Args:
            settings: of a home that holds what was known then.

        Raises:
            InputError: the user would no longer get a list.
        """
        store, as_of = open_store(), run.as_of
        known_at = run.known_at or ALWAYS_KNOWN
        # As for publishing: what has no time of its own is used as soon as it has arrived.
        profiles_at = known_at if last_arrival(settings.paths) > as_of else as_of
        log = read_plays(settings.paths)
        every = find_candidates(settings, store, as_of, exclusions, profiles_at=profiles_at, plays=log)
        user = int(np.searchsorted(every.user_id, user_id))
        if user == len(every.user_id) or every.user_id[user] != user_id:
            raise InputError(
                f"User {user_id}: no longer among the users of run {run.run_id}.",
                "Choose another user, or a later run.",
            )
        ranker = HybridRanker.load(model.folder, threads=settings.threads)
        if objective_of(model) == NEXT_DAY:
            chosen, followed = next_day.users_to_trace(every, user, settings.seed), user
        else:
            chosen, followed = score.users_to_trace(every, ranker, user, settings.seed)
        candidates = every.of_users(chosen)
        joined = join_features(
            store,
            ranker.encoding,
            candidates.user_id,
            candidates.video_id,
            as_of=as_of,
            zone=settings.data.zone,
            profiles_at=profiles_at,
        )
        composed = cls(
            settings,
            model,
            run,
            ranker,
            store,
            exclusions.blocklist,
            profiles_at,
            candidates,
            joined,
            log.head(log[columns.EVENT_TIMESTAMP].search_sorted(as_of, side="left")),
            int(np.searchsorted(chosen, user)),
            user_id,
        )
        return composed._traced(int(np.searchsorted(chosen, followed)))

    def _traced(self, followed: int) -> "NightOfUser":
        """The same with the way of the user whose list it is."""
        candidates, joined, as_of, settings = self.candidates, self.joined, self.run.as_of, self.settings
        if objective_of(self.model) == NEXT_DAY:
            # A night reads only plays before the instant.
            ranker = NextDayRanker.load(self.model.folder, NEXT_DAY)
            used = without_sources(settings, ranker.left_out)
            night = next_day.night_of(candidates, joined, self.plays, as_of, used)
            trace = next_day.trace_of_user(candidates, night, ranker, as_of, settings=settings, user=followed)
            return replace(self, trace=trace, night=night)
        if not candidates.has_history[followed]:
            return self
        own = OwnSources.of(candidates, joined, as_of, settings)
        of_shown = score.trace_of_user(candidates, joined, self.ranker, settings, own=own, user=followed)
        return replace(self, trace=of_shown)

    @property
    def categories(self) -> dict[str, tuple[int | str, ...]]:
        """The values of categorical features, in the order of their codes."""
        # The next day's rankers read numbers alone.
        return {} if self.night is not None else dict(self.ranker.encoding.categories)

    def index(self, video_id: int) -> int | None:
        """Index of a video in the candidates; None if it is not eligible."""
        found = np.flatnonzero(self.candidates.video_id == video_id)
        return int(found[0]) if len(found) else None

    def position(self, video: int) -> int | None:
        """Position of a video in the order, from 1; None if it was not ordered."""
        if self.trace is not None:
            return self.trace.position(video)
        return int(np.flatnonzero(top_rated(self.candidates, self.joined) == video)[0]) + 1
