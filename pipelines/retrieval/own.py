"""A recommender of another library, or of the user's own, as a candidate source; its lists are its fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import SourceNeeds
from pipelines.local_days import INSTANT
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import Arrays, Catalogue, Fitted

# A model may recommend videos that are not open to the user, so this many are requested per candidate.
_ASKED = 3
_NEEDED = (columns.USER_ID, columns.VIDEO_ID, "score")


class Recommender(Protocol):
    """The protocol of a model of the user's own; a new one is made for every fit."""

    def fit(self, plays: pl.DataFrame) -> None:
        """Learn from plays.

        Args:
            plays: in order of time: user_id, video_id, event_timestamp, liked (by the label that is set),
                value (the clipped watch_ratio).
        """

    def recommend(self, user_ids: np.ndarray, k: int) -> pl.DataFrame:
        """At most k videos for each of these users, all of whom occur in the plays.

        Returns:
            user_id, video_id, score (higher is better). Videos that a user has played may be among them and
            are left out later.
        """


@dataclass(frozen=True)
class OwnSource:
    """A candidate source made of a Recommender.

    Attributes:
        make: returns a new Recommender.
    """

    name: str
    make: Callable[[], Recommender]

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Ask a new model for lists of all users.

        Returns:
            Arrays user_id, int64 [users], ascending; start, int64 [users + 1], where each user's list begins;
            video and value, the lists.
        """
        model = self.make()
        model.fit(plays_of(past))
        found = self._checked(model.recommend(past.user_id, _ASKED * settings.retrieval.source_k), past)
        user = np.searchsorted(past.user_id, found[columns.USER_ID].to_numpy())
        return {
            "user_id": past.user_id,
            "start": np.searchsorted(user, np.arange(len(past.user_id) + 1)),
            "video": np.searchsorted(past.video_id, found[columns.VIDEO_ID].to_numpy()).astype(np.int32),
            "value": found["value"].to_numpy(),
        }

    def _checked(self, recommended: Any, past: Past) -> pl.DataFrame:
        """The rows by user, each with a value from 1 downwards by its rank: scores may be of any scale."""
        if not isinstance(recommended, pl.DataFrame):
            recommended = pl.from_pandas(recommended)
        absent = [name for name in _NEEDED if name not in recommended.columns]
        if absent:
            raise self._refused(f"its recommend() gives no column {', '.join(absent)}")
        rows: pl.DataFrame = recommended.select(_NEEDED).with_columns(pl.col("score").cast(pl.Float64))
        if not rows["score"].is_finite().fill_null(False).all():
            raise self._refused("its recommend() gives a score that is not a number")
        for name, known in ((columns.USER_ID, past.user_id), (columns.VIDEO_ID, past.video_id)):
            unknown = rows.filter(~pl.col(name).is_in(known.tolist()))
            if unknown.height:
                raise self._refused(f"its recommend() gives {name} {unknown[name][0]}, which no play has")
        if rows.select(_NEEDED[:2]).is_duplicated().any():
            raise self._refused("its recommend() gives a video twice to a user")
        rank = pl.col("score").rank("ordinal", descending=True).over(columns.USER_ID)
        ordered = rows.sort(columns.USER_ID, columns.VIDEO_ID)
        return ordered.with_columns((1.0 / (rank + 1).log(2)).cast(pl.Float32).alias("value"))

    def _refused(self, what: str) -> InputError:
        return InputError(
            f"Candidate source {self.name}: {what}.", "Repair it, or take it out of [retrieval] sources."
        )

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The users' lists, in the columns of the catalogue."""
        return _FittedLists(
            arrays["user_id"],
            arrays["start"],
            catalogue.columns[arrays["video"]],
            arrays["value"],
            len(catalogue),
        )


@dataclass(frozen=True)
class _FittedLists:
    user_id: np.ndarray
    start: np.ndarray
    column: np.ndarray
    value: np.ndarray
    videos: int

    def scores(self, histories: Histories) -> np.ndarray:
        """The recommendations for each user; 0 for other videos, and for users unknown to the fit."""
        found = np.zeros((len(histories.user_id), self.videos), dtype=np.float32)
        code, known = indices_in(self.user_id, histories.user_id)
        for row in np.flatnonzero(known).tolist():
            part = slice(self.start[code[row]], self.start[code[row] + 1])
            found[row, self.column[part]] = self.value[part]
        return found


def plays_of(past: Past) -> pl.DataFrame:
    """The plays in the form that `Recommender.fit` gets."""
    return pl.DataFrame(
        {
            columns.USER_ID: past.user_id[past.user],
            columns.VIDEO_ID: past.video_id[past.video],
            columns.EVENT_TIMESTAMP: pl.Series(past.at_us).cast(INSTANT),
            "liked": past.liked,
            "value": past.amount,
        }
    )
