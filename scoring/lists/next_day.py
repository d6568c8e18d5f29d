"""Every user's list for objective `next_day`: sources name candidates, the rankers order.

The same `Night.rows` composes the rows here and in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.instants import unix_us
from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.night import Night, Rows
from pipelines.model_rows.tonight import night_as_of
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.next_day import REGRESSOR, NextDayRanker
from scoring.lists.averaged import averaged_users
from scoring.lists.candidates import Candidates
from scoring.lists.rows import HYBRID, POPULAR, REWATCH, Lists, joined_names
from scoring.lists.scored_rows import ScoredRows
from scoring.lists.trace import Trace

_BLOCK_USERS = 64


def next_day_lists(
    candidates: Candidates,
    night: Night,
    ranker: NextDayRanker,
    as_of: datetime,
    settings: RankerNeeds,
    *,
    length: int | None = None,
) -> Iterator[Lists]:
    """The lists of all users, by user id, in blocks of users.

    Users without history of whom no source knows anything share one list (`popular`): the rankers' scores for
    a user of whom nothing is known.
    Lists do not depend on block size or number of threads.

    Args:
        night: as `night_of` returns it.
        length: rows per list, if more than top_k.

    Raises:
        InputError: the model uses other features.
    """
    whole = NextDayScoring.of(candidates, night, ranker, as_of, settings, length=length)
    yield from whole.blocks(0, len(candidates.user_id))


def trace_of_user(
    candidates: Candidates,
    night: Night,
    ranker: NextDayRanker,
    as_of: datetime,
    *,
    settings: RankerNeeds,
    user: int,
) -> Trace:
    """How one user's list is made, stage by stage.

    Args:
        candidates: at least the users of `users_to_trace`, so that scores are the same as among all users.
        user: index in the candidates.
    """
    return NextDayScoring.of(candidates, night, ranker, as_of, settings).trace(user)


def users_to_trace(candidates: Candidates, user: int, seed: int) -> np.ndarray:
    """Indices of the users that one user's list depends on, ascending."""
    found: np.ndarray = np.union1d(averaged_users(candidates, seed), [user])
    return found


def night_of(
    candidates: Candidates,
    joined: JoinedFeatures,
    plays: pl.DataFrame,
    as_of: datetime,
    settings: RankerNeeds,
) -> Night:
    """Candidate sources and pair features of these candidates as of an instant, from the whole log."""
    about = candidates.about
    unknown = np.full(len(candidates.video_id), -1, dtype=np.int64)
    of_videos = {
        group.join_key: unknown if about is None else about.groups[group.join_key] for group in GROUPS
    }
    uploaded_us = unknown if about is None else about.uploaded_us
    listable = pl.DataFrame({columns.VIDEO_ID: candidates.video_id, **of_videos, "uploaded_us": uploaded_us})
    return night_as_of(plays, as_of, joined, listable, settings, user_id=candidates.user_id)


@dataclass(frozen=True)
class NextDayScoring:
    """Everything needed to make lists; after this, the lists of some users need no data of the others.

    Attributes:
        common: float64 [videos of the catalogue], each one's mean score over users, NaN where unknown.
        shared: the list of users of whom nothing is known, if there are any.
        first: the index, in the night, of the candidates' first user.
    """

    candidates: Candidates
    night: Night
    received: np.ndarray
    ranker: NextDayRanker
    as_of_us: int
    settings: RankerNeeds
    length: int
    common: np.ndarray | None = None
    shared: Lists | None = None
    first: int = 0

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        night: Night,
        ranker: NextDayRanker,
        as_of: datetime,
        settings: RankerNeeds,
        *,
        length: int | None = None,
    ) -> "NextDayScoring":
        """Prepare; arguments and errors are those of `next_day_lists`."""
        ranker.require_features(night.names)
        as_of_us = unix_us(as_of)
        received = night.joined.received()
        scoring = cls(candidates, night, received, ranker, as_of_us, settings, length or settings.lists.top_k)
        scoring = replace(scoring, common=scoring.means_over_users())
        unknown = np.flatnonzero(~scoring.has_own_list(slice(None)))
        return replace(scoring, shared=scoring.lists(unknown[:1])) if len(unknown) else scoring

    def has_own_list(self, users: slice) -> np.ndarray:
        """Whether these users have a list of their own, as something is known of them: bool [users]."""
        of_candidates = self.candidates
        known: np.ndarray = of_candidates.has_history[users] | self.night.knows(of_candidates.user_id[users])
        return known

    def blocks(self, start: int, stop: int) -> Iterator[Lists]:
        """The lists of users with indices from `start` to before `stop`, in blocks."""
        known = start + np.flatnonzero(self.has_own_list(slice(start, stop)))

        def block(first: int) -> Lists:
            last = min(first + _BLOCK_USERS, stop)
            own = known[np.searchsorted(known, first) : np.searchsorted(known, last)]
            return self.block(first, last, own)

        yield from made_in_order(block, range(start, stop, _BLOCK_USERS), self.settings.threads)

    def means_over_users(self) -> np.ndarray | None:
        """`common`, over a sample of users with a history, chosen by a hash of their ids."""
        users = averaged_users(self.candidates, self.settings.seed)

        def rows_of(start: int) -> Rows:
            return self._rows(users[start : start + _BLOCK_USERS], self.settings.lists.top_k)

        parts = made_in_order(rows_of, range(0, len(users), _BLOCK_USERS), self.settings.threads)
        return self.ranker.means_over_users(
            ((rows.video, rows.features) for rows in parts), len(self.night.catalogue)
        )

    def block(self, start: int, stop: int, known: np.ndarray) -> Lists:
        """The lists of users `start` to before `stop`; `known`: those with a list of their own, ascending."""
        parts = []
        own = iter(self._split(self.lists(known), known)) if len(known) else iter(())
        is_known = np.isin(np.arange(start, stop), known)
        for user in range(start, stop):
            if is_known[user - start]:
                parts.append(next(own))
            elif self.shared is not None:
                parts.append(self.shared.of_user(int(self.candidates.user_id[user]), POPULAR))
        return Lists.concatenate(parts)

    def _split(self, lists: Lists, users: np.ndarray) -> Iterator[Lists]:
        user_id = self.candidates.user_id[users]
        starts = np.searchsorted(lists.user_id, user_id)
        stops = np.searchsorted(lists.user_id, user_id, side="right")
        for first, last in zip(starts.tolist(), stops.tolist(), strict=True):
            yield lists.rows(slice(first, last))

    def lists(self, users: np.ndarray) -> Lists:
        """The lists of these users, given by index in the candidates."""
        rows = self._rows(users, self.settings.lists.top_k)
        scored = ScoredRows.of(rows, self.night, self.received, self.ranker, self.common)
        starts = np.searchsorted(rows.user, np.arange(len(users) + 1))
        parts = [slice(first, last) for first, last in pairwise(starts.tolist())]
        kept = [scored.kept(part, filter_size(self.settings.ranker, self.settings.lists)) for part in parts]
        # All users at once, because a call of the models costs more than a few rows.
        scored.order(np.concatenate([np.zeros(0, np.int64), *kept]))
        rewatch = self.candidates.rewatch(users)
        found = [
            self._list(scored, int(user), part, own, again=bool(of_seen))
            for user, part, own, of_seen in zip(users, parts, kept, rewatch, strict=True)
        ]
        return Lists.concatenate(self._continued(users, found))

    def _list(self, scored: "ScoredRows", user: int, part: slice, kept: np.ndarray, *, again: bool) -> Lists:
        """One user's list of the videos that the filter keeps.

        Args:
            part: the user's rows.
        """
        _, order = self._ordered(scored, part, kept)
        rows = scored.rows
        brought_by = np.zeros(len(order), np.uint32) if again else rows.brought_by[order]
        return Lists(
            np.full(len(order), self.candidates.user_id[user]),
            np.arange(1, len(order) + 1, dtype=np.int32),
            self.candidates.video_id[scored.video[order]],
            scored.ordering[order],
            scored.probability[order],
            self.ranker.raw(REGRESSOR, rows.features[order]),
            rows.als_score[order].astype(np.float64),
            np.full(len(order), REWATCH if again else HYBRID),
            joined_names(brought_by, tuple(self.night.sources)),
        )

    def _ordered(self, scored: "ScoredRows", part: slice, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One user's rows that are ordered, and the rows of the list, best first."""
        caps, top_k = self.candidates.caps, self.settings.lists.top_k
        # What the filter keeps beyond top_k are the next ones of the same order, unless caps pass over some.
        most = top_k if caps else max(top_k, self.length)
        order = scored.first_within_caps(kept, caps, most)
        if len(order) < min(top_k, part.stop - part.start) and len(kept) < part.stop - part.start:
            # The caps have no room for enough of the filter's choice: all candidates are ordered.
            kept = np.arange(part.start, part.stop)
            scored.order(kept)
            order = scored.first_within_caps(kept, caps, top_k)
        return kept, order

    def trace(self, user: int) -> Trace:
        """How one user's list is made, stage by stage."""
        rows = self._rows(np.array([user]), self.settings.lists.top_k)
        scored = ScoredRows.of(rows, self.night, self.received, self.ranker, self.common)
        part = slice(0, len(rows.user))
        kept = scored.kept(part, filter_size(self.settings.ranker, self.settings.lists))
        scored.order(kept)
        ordered, listed = self._ordered(scored, part, kept)
        by_video = np.argsort(scored.video, kind="stable")
        row_of = dict(zip(scored.video.tolist(), range(len(scored.video)), strict=True))

        def features(video: int) -> np.ndarray | None:
            row = row_of.get(video)
            return None if row is None else rows.features[row]

        return Trace(
            scored.video[by_video],
            joined_names(rows.brought_by, tuple(self.night.sources))[by_video],
            scored.probability[by_video],
            np.isin(by_video, kept),
            scored.video[scored.first_within_caps(ordered, (), len(ordered))],
            scored.video[listed],
            self.ranker.deciding,
            self.ranker.names,
            features,
        )

    def _continued(self, users: np.ndarray, lists: list[Lists]) -> list[Lists]:
        """Lists shorter than `length` continue with the other rows of lists of that length."""
        short = np.flatnonzero([len(found) < self.length for found in lists])
        if self.length <= self.settings.lists.top_k or not len(short):
            return lists
        settings = self.settings.changed({"lists.top_k": self.length})
        longer = replace(self, settings=settings)
        those = longer._split(longer.lists(users[short]), users[short])
        for at, more in zip(short.tolist(), those, strict=True):
            new = np.flatnonzero(~np.isin(more.video_id, lists[at].video_id))
            whole = Lists.concatenate([lists[at], more.rows(new)]).rows(slice(0, self.length))
            lists[at] = replace(whole, rank=np.arange(1, len(whole) + 1, dtype=np.int32))
        return lists

    def _rows(self, users: np.ndarray, at_least: int) -> Rows:
        # Caps may skip many candidates, so here everything that is open is a candidate.
        least = len(self.candidates.video_id) if self.candidates.caps else at_least
        return self.night.rows(
            self.candidates.user_id[users],
            np.full(len(users), self.as_of_us),
            self.first + users,
            self.candidates.open_to(users),
            at_least=least,
        )
