"""Scores of all videos for one user, by NumPy: they depend on no other user and on no compiler."""

from dataclasses import dataclass

import numpy as np

from pipelines.retrieval.sequence.items import ItemFacts
from pipelines.retrieval.sequence.model import LENGTH, Params, encode, video_vectors
from pipelines.retrieval.sequence.timelines import Timelines, gap_codes


@dataclass(frozen=True)
class Scorer:
    """A trained transformer over some videos.

    Attributes:
        vectors, bias: float32 [videos, SIZE] and [videos].
    """

    params: Params
    vectors: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, params: Params, items: ItemFacts, log_popular: np.ndarray) -> "Scorer":
        """Over the videos that it was trained with, as popular as they are now: float32 [videos]."""
        bias = params["bias"] + params["of_popularity"] * log_popular
        return cls(params, video_vectors(params, items.groups, items.text), bias)

    def scores(self, plays: np.ndarray, wait_us: int) -> np.ndarray:
        """How well each video fits next: float32 [videos].

        Args:
            plays: video, outcome, gap and hour of the user's plays, at least one: int32 [4, plays].
            wait_us: from the last of them to the instant that is asked for.
        """
        last = plays[:, None, -LENGTH:]
        wait = np.full(last.shape[1:], gap_codes(np.array([wait_us]))[0])
        state = encode(np, self.params, self.vectors[last[0]], last[1:], wait=wait)[0, -1]
        found: np.ndarray = self.vectors @ state + self.bias
        return found

    def of_several(self, plays: Timelines, stops: np.ndarray, wait_us: np.ndarray) -> np.ndarray:
        """The same for several users at once, which is cheaper and may differ in the last bits.

        Args:
            stops: int64 [users], the position after each one's last play, who has at least one.

        Returns:
            float32 [users, videos].
        """
        starts = np.maximum(plays.starts[np.searchsorted(plays.starts, stops) - 1], stops - LENGTH)
        length = int((stops - starts).max())
        # No play sees the padding after a user's last play.
        index = np.minimum(starts[:, None] + np.arange(length), stops[:, None] - 1)
        tokens = np.stack([of[index] for of in (plays.video, plays.outcome, plays.gap, plays.hour)])
        wait = np.repeat(gap_codes(wait_us)[:, None], length, axis=1)
        states = encode(np, self.params, self.vectors[tokens[0]], tokens[1:], wait=wait)
        last = states[np.arange(len(stops)), stops - starts - 1]
        found: np.ndarray = last @ self.vectors.T + self.bias
        return found
