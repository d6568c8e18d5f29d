"""Users' plays before an instant, as the sparse rows that candidate sources multiply."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from nightreel.core.ascending import indices_in
from nightreel.core.instants import DAY_US
from pipelines.retrieval.counting import positions_by
from pipelines.retrieval.past import Past

# The decay of a liked play and of any play with each later one, and the weight below which a play is dropped.
_LIKED_DECAY, _PLAYED_DECAY, _FAINT = 0.95, 0.98, 0.01
_PRIOR_LIKES, _PRIOR_PLAYS = 3.0, 10.0


@dataclass(frozen=True)
class Histories:
    """Some users as of an instant each; all matrices are float32 [users, videos].

    Attributes:
        user_id: int64 [users].
        played, liked: 1 where the user had played, or liked, the video.
        recent_liked, recent_played: the same, decaying with each later (liked) play of the user.
        plays, likes: float64 [users], their numbers.
        since_days: float64 [users], days since the last play, NaN without one.
        watched: float64 [users], the mean clipped watch_ratio, NaN without a play.
        instant_us: int64 [users], microseconds since 1970 UTC.
        play_user, play_video: the plays by user and time, as row and column of the matrices above.
        play_us, play_liked, play_amount: each play's time (microseconds since 1970 UTC), whether it was
            liked, and its clipped watch_ratio (float32).
    """

    user_id: np.ndarray
    played: csr_matrix
    liked: csr_matrix
    recent_liked: csr_matrix
    recent_played: csr_matrix
    plays: np.ndarray
    likes: np.ndarray
    since_days: np.ndarray
    watched: np.ndarray
    instant_us: np.ndarray
    play_user: np.ndarray
    play_video: np.ndarray
    play_us: np.ndarray
    play_liked: np.ndarray
    play_amount: np.ndarray

    @property
    def liked_share(self) -> np.ndarray:
        """The share of each user's plays that were liked, shrunk to the prior: float64 [users]."""
        return (self.likes + _PRIOR_LIKES) / (self.plays + _PRIOR_PLAYS)


class PlaysByUser:
    """The plays of a log by user and time, from which histories as of any instants are made."""

    def __init__(self, past: Past, user_id: np.ndarray | None = None) -> None:
        """Index the plays; a history holds only those before the instant asked for.

        Args:
            user_id: the users whose histories will be asked for; by default all. Of a tenth of KuaiRec's
                users an index takes a tenth of the time and the memory.
        """
        self.video_id = past.video_id
        self._user_id, self._at_us = past.user_id, past.at_us
        self._is_indexed = np.ones(len(past.user_id), dtype=bool)
        if user_id is not None:
            self._is_indexed = np.isin(past.user_id, user_id)
        # Of each user the positions in the log ascend, as the log does in time.
        if self._is_indexed.all():
            self._order, self._starts = positions_by(past.user, len(past.user_id))
        else:
            plays = np.flatnonzero(self._is_indexed[past.user])
            order, self._starts = positions_by(past.user[plays], len(past.user_id))
            self._order = plays[order]
        self._video = past.video[self._order]
        self._liked = past.liked[self._order]
        self._amount = past.amount[self._order]
        self._likes_before: np.ndarray = np.append(0, np.cumsum(self._liked)).astype(self._order.dtype)

    def histories(
        self, user_id: np.ndarray, instant_us: np.ndarray, videos: np.ndarray, width: int
    ) -> Histories:
        """The histories of these users, each strictly before an instant of their own.

        Args:
            user_id, instant_us: int64 [users].
            videos: int64 [videos of the past], the column of each video among `width` columns.
        """
        code, known = indices_in(self._user_id, user_id)
        assert self._is_indexed[code[known]].all(), "the plays of a user were left out of the index"
        before = np.searchsorted(self._at_us, instant_us, side="left")
        own = [
            slice(*self._starts[one : one + 2].tolist()) if is_known else slice(0, 0)
            for one, is_known in zip(code.tolist(), known.tolist(), strict=True)
        ]
        start = np.array([rows.start for rows in own], dtype=np.int64)
        ends = zip(own, before.tolist(), strict=True)
        counts = [int(np.searchsorted(self._order[rows], end)) for rows, end in ends]
        stop = start + np.array(counts, dtype=np.int64)
        lengths = stop - start
        row = np.repeat(np.arange(len(user_id)), lengths)
        play = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths - start, lengths)
        column, liked = videos[self._video[play]], self._liked[play]
        amount = self._amount[play]
        likes = (self._likes_before[stop] - self._likes_before[start]).astype(np.float64)
        later_likes = self._likes_before[stop][row] - self._likes_before[play + 1]
        shape = (len(user_id), width)

        def rows(chosen: np.ndarray, weight: np.ndarray) -> csr_matrix:
            found = csr_matrix((weight[chosen].astype(np.float32), (row[chosen], column[chosen])), shape)
            np.minimum(found.data, 1.0, out=found.data)
            return found

        fading_liked = _LIKED_DECAY**later_likes
        fading = _PLAYED_DECAY ** (np.repeat(stop, lengths) - 1 - play)
        ones = np.ones(len(play))
        amounts = np.bincount(row, amount, minlength=len(user_id))
        some = lengths > 0
        last = self._order[stop[some] - 1]
        since = np.full(len(user_id), np.nan)
        since[some] = (instant_us[some] - self._at_us[last]) / DAY_US
        with np.errstate(invalid="ignore"):
            watched = amounts / np.where(some, lengths, np.nan)
        return Histories(
            user_id,
            rows(np.ones(len(play), dtype=bool), ones),
            rows(liked, ones),
            rows(liked & (fading_liked >= _FAINT), fading_liked),
            rows(fading >= _FAINT, fading),
            lengths.astype(np.float64),
            likes,
            since,
            watched,
            instant_us,
            row,
            column,
            self._at_us[self._order[play]],
            liked,
            amount,
        )
