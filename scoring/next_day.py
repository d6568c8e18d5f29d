"""Every user's list for objective `next_day`: sources name candidates, the rankers order.

The same `Night.rows` composes the rows here and in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.model_rows.night import Night, Rows
from pipelines.model_rows.tonight import night_as_of
from pipelines.rankers.hybrid import best_places
from pipelines.rankers.next_day import REGRESSOR, NextDayRanker
from pipelines.rankers.sides import Sides
from scoring.blocks import made_in_order
from scoring.candidates import Candidates, first_within_caps
from scoring.lists import HYBRID, POPULAR, REWATCH, Lists, joined_names

_BLOCK_USERS = 64


def next_day_lists(
    candidates: Candidates, night: Night, ranker: NextDayRanker, as_of: datetime, settings: Settings
) -> Iterator[Lists]:
    """The lists of all users, in order of their ids, some users at a time. night: as `night_of` gives it.

    Users without history share one list (`popular`): what the rankers say of someone of whom nothing is
    known. Neither blocks nor threads change a list. Raises InputError for a model of other features.
    """
    ranker.require_features(night.names)
    return _all_lists(_Scoring(candidates, night, ranker, round(as_of.timestamp() * 1_000_000), settings))


def _all_lists(scoring: "_Scoring") -> Iterator[Lists]:
    candidates, settings = scoring.candidates, scoring.settings
    cold = np.flatnonzero(~candidates.has_history)
    shared = scoring.lists(cold[:1]) if len(cold) else None
    warm = np.flatnonzero(candidates.has_history)

    def block(start: int) -> Lists:
        stop = min(start + _BLOCK_USERS, len(candidates.user_id))
        own = warm[np.searchsorted(warm, start) : np.searchsorted(warm, stop)]
        return scoring.block(start, stop, own, shared)

    yield from made_in_order(block, range(0, len(candidates.user_id), _BLOCK_USERS), settings.threads)


def night_of(
    candidates: Candidates, sides: Sides, plays: pl.DataFrame, as_of: datetime, settings: Settings
) -> Night:
    """What is known of these candidates as of an instant. plays: the whole log, as `read_plays` gives it."""
    about = candidates.about
    unknown = np.full(len(candidates.video_id), -1, dtype=np.int64)
    author, category, uploaded_us = (
        (unknown, unknown, unknown) if about is None else (about.author, about.category, about.uploaded_us)
    )
    listable = pl.DataFrame(
        {
            columns.VIDEO_ID: candidates.video_id,
            "author": author,
            "category": category,
            "uploaded_us": uploaded_us,
        }
    )
    return night_as_of(plays, as_of, sides, listable, settings)


@dataclass(frozen=True)
class _Scoring:
    candidates: Candidates
    night: Night
    ranker: NextDayRanker
    as_of_us: int
    settings: Settings

    def block(self, start: int, stop: int, warm: np.ndarray, shared: Lists | None) -> Lists:
        """The lists of users `start` to `stop`; warm: those of them with a list of their own, ascending."""
        parts = []
        own = iter(self._split(self.lists(warm), warm)) if len(warm) else iter(())
        has_history = self.candidates.has_history
        for user in range(start, stop):
            if has_history[user]:
                parts.append(next(own))
            elif shared is not None:
                parts.append(shared.of_user(int(self.candidates.user_id[user]), POPULAR))
        return Lists.concatenate(parts)

    def _split(self, lists: Lists, users: np.ndarray) -> Iterator[Lists]:
        user_id = self.candidates.user_id[users]
        starts = np.searchsorted(lists.user_id, user_id)
        stops = np.searchsorted(lists.user_id, user_id, side="right")
        for first, last in zip(starts.tolist(), stops.tolist(), strict=True):
            yield lists.rows(slice(first, last))

    def lists(self, users: np.ndarray) -> Lists:
        """The lists of these users, positions in the candidates."""
        rows = self._rows(users, self.settings.top_k)
        features = rows.features
        probability = self.ranker.probability(features)
        starts = np.searchsorted(rows.user, np.arange(len(users) + 1))
        keep = max(self.settings.filter_k, self.settings.top_k)
        kept = np.concatenate(
            [
                first + best_places(probability[first:last], np.ones(last - first, dtype=bool), keep)
                for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
            ]
        )
        ordering = self.ranker.ordering(features[kept], probability[kept])
        starts = np.searchsorted(rows.user[kept], np.arange(len(users) + 1))
        rewatch = self.candidates.rewatch(users)
        found = []
        for user, (first, last) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
            order = first + np.argsort(-ordering[first:last], kind="stable")
            video = self.night.sides_video[rows.video[kept[order]]]
            taken = np.isin(video, first_within_caps(video, self.candidates.caps, self.settings.top_k))
            order, video = order[taken], video[taken]
            brought_by = np.zeros(len(order), np.uint32) if rewatch[user] else rows.brought_by[kept[order]]
            found.append(
                Lists(
                    np.full(len(order), self.candidates.user_id[users[user]]),
                    np.arange(1, len(order) + 1, dtype=np.int32),
                    self.candidates.video_id[video],
                    ordering[order],
                    probability[kept[order]],
                    self.ranker.raw(REGRESSOR, features[kept[order]]),
                    rows.als_score[kept[order]].astype(np.float64),
                    np.full(len(order), REWATCH if rewatch[user] else HYBRID),
                    joined_names(brought_by, tuple(self.night.sources)),
                )
            )
        return Lists.concatenate(found)

    def _rows(self, users: np.ndarray, at_least: int) -> Rows:
        # Caps may pass over many candidates: then everything that is open is one.
        least = len(self.candidates.video_id) if self.candidates.caps else at_least
        return self.night.rows(
            self.candidates.user_id[users],
            np.full(len(users), self.as_of_us),
            users,
            self.candidates.open_to(users),
            at_least=least,
        )
