"""The training data of the next day's rankers: candidates of past nights, and their outcomes that day.

An example is a user at an instant: the beginning of a day on which the user played. Its rows are the
candidates that the sources suggested then, its targets the user's plays until the end of that day. A log
whose users come once and stay for one session has hardly any such example; there an example is a user in the
middle of a session, and its targets are the rest of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.instants import unix_us
from nightreel.core.logs import progress
from nightreel.core.memory import give_back_memory
from nightreel.core.settings.needs import FitNeeds, RankerNeeds
from pipelines.hashing import uniform_hash
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.model_rows.joined_features import join_features
from pipelines.model_rows.listable import known_videos
from pipelines.model_rows.night import Night, Rows
from pipelines.rankers.examples import Examples, examples_of_nights
from pipelines.retrieval.fits import source_names
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import ON_TRIAL

_VALIDATION_SHARE, _VALIDATION_EXAMPLES = 0.25, 1_500
ROWS_MAX, _CANDIDATES_USUAL = 600_000, 400
# More nights or users cost time and gain nothing in the backtest.
TRAINING_NIGHTS, TRAINING_USERS = 3, 5_000
_BLOCK_USERS = 128


@dataclass(frozen=True)
class _Drawn:
    """The shares of candidates without a play and of validation users that are drawn."""

    rows: float
    validation: float


@dataclass(frozen=True)
class NightRows:
    """Rows of all examples: features float32 [rows, features], the other arrays one entry per row.

    Attributes:
        liked, amount: targets.
        group: the number of the row's example, ascending.
        is_validation: bool, whether the example's user is a validation user; these have every candidate,
            others a sample.
        is_sampled: bool, whether the row is in that sample; drawn for validation users too.
        video_id: int64.
        night: int64, the same number for examples of one cutoff.
        until_us: int64, the end of the example's window.
        kind: "nights" or "sessions".
        log_plays: the number of plays in the log that these rows were made from.
        left_out: sources in the settings that have no part in these rows.
        untried: the same examples without the sources on trial; None where the settings name none of them.
    """

    names: tuple[str, ...]
    features: np.ndarray
    liked: np.ndarray
    amount: np.ndarray
    group: np.ndarray
    is_validation: np.ndarray
    is_sampled: np.ndarray
    video_id: np.ndarray
    night: np.ndarray
    until_us: np.ndarray
    kind: str
    log_plays: int
    left_out: tuple[str, ...] = ()
    untried: "NightRows | None" = None

    def before(self, instant: datetime) -> "NightRows | None":
        """The rows of examples that ended by an instant; None where none of their candidates was liked."""
        early = self.until_us <= unix_us(instant)
        if not self.liked[early].any():
            return None
        return replace(
            self,
            features=self.features[early],
            liked=self.liked[early],
            amount=self.amount[early],
            group=self.group[early],
            is_validation=self.is_validation[early],
            is_sampled=self.is_sampled[early],
            video_id=self.video_id[early],
            night=self.night[early],
            until_us=self.until_us[early],
            untried=None if self.untried is None else self.untried.before(instant),
        )


def night_rows(
    plays: pl.DataFrame,
    store: FeatureStore,
    encoding: FeatureEncoding,
    until: datetime,
    settings: RankerNeeds,
    *,
    rows_max: int = ROWS_MAX,
    users_max: int = TRAINING_USERS,
    nights: int = TRAINING_NIGHTS,
    earlier_too: bool = True,
) -> NightRows | None:
    """The rows of past nights that ended by `until`; None where no candidate of theirs was liked.

    Args:
        plays: from `read_plays`; those at or after `until` are ignored.
        rows_max: about the most rows of candidates that were not played.
        users_max: the most users of each night, chosen by hash.
        nights: how many nights, the last ones.
        earlier_too: whether to add as many earlier nights as the holdout has days, for callers who leave
            its days out later.
    """
    past = Past.of(plays, until, settings.data)
    nights += settings.evaluation.holdout_days if earlier_too else 0
    kind, examples = examples_of_nights(past, plays, nights, users_max, settings)
    index = PlaysByUser(past, np.concatenate([np.zeros(0, np.int64), *(one.user_id for one in examples)]))
    of_all = max(1, sum(len(one.user_id) for one in examples))
    log_plays = len(past)
    # From here on only the outcomes are read: the plays before them, some hundred megabytes, are freed.
    past = past.since(min((int(one.instant_us.min()) for one in examples), default=past.cutoff_us))
    drawn = _Drawn(
        min(1.0, rows_max / (of_all * _CANDIDATES_USUAL)),
        min(_VALIDATION_SHARE, _VALIDATION_EXAMPLES / of_all),
    )
    on_trial = tuple(name for name in source_names(settings.retrieval) if name in ON_TRIAL)
    every, untried = _Gathered(log_plays), _Gathered(log_plays, on_trial)
    with progress("past nights", total=sum(len(one.user_id) for one in examples)) as advance:
        for number, one in enumerate(examples):
            night = _night_of(
                one, plays=plays, index=index, store=store, encoding=encoding, settings=settings
            )
            for users in every.add(number, night, _rows_of(one, night, past, drawn, settings)):
                advance(users)
            if on_trial:
                without = night.without(on_trial)
                for _ in untried.add(number, without, _rows_of(one, without, past, drawn, settings)):
                    pass
            give_back_memory()
    found = every.rows(kind)
    return replace(found, untried=untried.rows(kind)) if found is not None and on_trial else found


class _Gathered:
    """The rows of one night after the other."""

    def __init__(self, log_plays: int, left_out: tuple[str, ...] = ()) -> None:
        self._log_plays = log_plays
        self._left_out = left_out
        self._names: tuple[str, ...] = ()
        self._blocks: list[np.ndarray] = []
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._groups = 0

    def add(self, number: int, night: Night, blocks: Iterable[tuple[np.ndarray, ...]]) -> Iterator[int]:
        """Take a night's rows, block by block; yields about how many users each of them has."""
        self._names = night.names
        for features, *part in blocks:
            self._blocks.append(features)
            self._parts.append((*part[:-1], np.full(len(part[-1]), number), part[-1] + self._groups))
            self._groups += _BLOCK_USERS
            yield int(part[-1].max(initial=-1)) + 1

    def rows(self, kind: str) -> NightRows | None:
        """All of them; None where nothing was liked."""
        if not self._parts:
            return None
        liked, amount, validation, sampled, video_id, until_us, night_number, group = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        if not liked.any():
            return None
        return NightRows(
            self._names,
            _stacked(self._blocks),
            liked,
            amount,
            group,
            validation,
            sampled,
            video_id,
            night_number,
            until_us,
            kind,
            self._log_plays,
            self._left_out,
        )


def _stacked(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks of rows as one array. The list is emptied on the way, so that memory never holds all twice."""
    last_first = blocks[::-1]
    found = np.empty((sum(len(block) for block in blocks), blocks[0].shape[1]), dtype=blocks[0].dtype)
    blocks.clear()
    start = 0
    while last_first:
        block = last_first.pop()
        found[start : start + len(block)] = block
        start += len(block)
    return found


def _night_of(
    one: Examples,
    *,
    plays: pl.DataFrame,
    index: PlaysByUser,
    store: FeatureStore,
    encoding: FeatureEncoding,
    settings: RankerNeeds,
) -> Night:
    """The night that begins at the examples' cutoff, with the Feast features of their users."""
    listable = known_videos(settings.paths, settings.data, one.cutoff)
    users, videos = np.unique(one.user_id), listable[columns.VIDEO_ID].to_numpy()
    joined = join_features(store, encoding, users, videos, as_of=one.cutoff, zone=settings.data.zone)
    give_back_memory()  # free what Feast's sources were read into, as the fits need some hundred megabytes
    night = Night.of(Past.of(plays, one.cutoff, settings.data), index, joined, listable, settings)
    give_back_memory()  # and what the fits needed
    return night


def _rows_of(
    one: Examples, night: Night, past: Past, drawn: "_Drawn", settings: FitNeeds
) -> Iterator[tuple[np.ndarray, ...]]:
    users = np.unique(one.user_id)
    validates = uniform_hash(one.user_id.astype(np.uint64), settings.seed + 2) < drawn.validation
    random = np.random.default_rng([settings.seed, one.cutoff.toordinal()])
    to_catalogue = np.searchsorted(night.catalogue.video_id, past.video_id)

    def composed(start: int) -> tuple[slice, Rows, np.ndarray, np.ndarray]:
        part = slice(start, min(start + _BLOCK_USERS, len(one.user_id)))
        user_id = one.user_id[part]
        rows = night.rows(user_id, one.instant_us[part], np.searchsorted(users, user_id))
        return part, rows, *_outcome(one, part, past, to_catalogue, len(night.catalogue))

    starts = range(0, len(one.user_id), _BLOCK_USERS)
    # Random draws are made in the order of the blocks, whichever thread has composed them.
    for part, rows, liked, amount in made_in_order(composed, starts, settings.threads):
        own_liked, own_amount = liked[rows.user, rows.video], amount[rows.user, rows.video]
        validation = validates[part][rows.user]
        sampled = own_liked | (own_amount > 0) | (random.random(len(own_liked)) < drawn.rows)
        has_liked = np.bincount(rows.user, own_liked, minlength=part.stop - part.start) > 0
        kept = (sampled | validation) & has_liked[rows.user]
        yield (
            rows.features[kept],
            own_liked[kept],
            own_amount[kept],
            validation[kept],
            sampled[kept],
            night.catalogue.video_id[rows.video[kept]],
            one.until_us[part][rows.user[kept]],
            rows.user[kept],
        )


def _outcome(
    one: Examples, part: slice, past: Past, to_catalogue: np.ndarray, videos: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of some examples' users and videos: bool and float32 [examples, videos of the catalogue]."""
    user_id, instant_us, until_us = one.user_id[part], one.instant_us[part], one.until_us[part]
    liked = np.zeros((len(user_id), videos), dtype=bool)
    amount = np.zeros((len(user_id), videos), dtype=np.float32)
    first, last = np.searchsorted(past.at_us, [instant_us.min(), until_us.max()])
    plays = np.arange(first, last)
    code = np.searchsorted(past.user_id, user_id)
    for row, user in enumerate(code.tolist()):
        own = plays[past.user[first:last] == user]
        own = own[(past.at_us[own] >= instant_us[row]) & (past.at_us[own] < until_us[row])]
        video = to_catalogue[past.video[own]]
        np.logical_or.at(liked[row], video, past.liked[own])
        np.maximum.at(amount[row], video, past.amount[own])
    return liked, amount
