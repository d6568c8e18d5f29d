"""Scoring split into parts of the users, for each objective, in a form that can be sent to other processes.

What all users share is made and sent once; what else a part needs is sent with it. A part's lists equal those
from scoring all users at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.joined_features import EncodedFeatures, JoinedFeatures
from pipelines.model_rows.pair_table import PairTable
from pipelines.rankers import HybridRanker
from pipelines.rankers.pair_ranker import PairRanker
from scoring.lists.candidates import Candidates
from scoring.lists.next_day import NextDayScoring
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import Lists
from scoring.lists.rules.stage import ListRules
from scoring.lists.score import common_order, score_with


class Common(Protocol):
    """The inputs that every process loads once."""

    def opened(self) -> Callable[[Any], Lists]:
        """A function from a result of `Work.part` to that part's lists; opening may be slow."""


@dataclass(frozen=True)
class Work:
    """The scoring of all users; `part` returns what only the users of a slice need."""

    users: int
    common: Common
    part: Callable[[slice], Any]


def work_of_shown(
    candidates: Candidates,
    joined: JoinedFeatures,
    model_folder: Path,
    settings: RankerNeeds,
    rules: ListRules | None = None,
) -> Work:
    """The lists of `score_users`, after the rules, from the model version in `model_folder`."""
    nobody = _Users.of(candidates, joined, slice(0, 0))
    retrieval = Retrieval.of(candidates, joined, settings)
    ranker = PairRanker.of(HybridRanker.load(model_folder, threads=1), joined)
    common = _Shown(
        nobody.listed.of_candidates(candidates),
        replace(joined, users=nobody.features(joined), user_factors=nobody.factors, pairs=nobody.pairs),
        {file.name: file.read_bytes() for file in sorted(model_folder.iterdir()) if file.is_file()},
        retrieval,
        common_order(candidates, ranker, retrieval, settings),
        settings.changed({"threads": 1}),
        rules,
    )
    return Work(len(candidates.user_id), common, lambda rows: _Users.of(candidates, joined, rows))


def work_of_next_day(whole: NextDayScoring, rules: ListRules | None = None) -> Work:
    """The lists of `next_day_lists`, after the rules."""
    candidates = whole.candidates
    common = replace(
        whole,
        candidates=_Listed.of(candidates, slice(0, 0)).of_candidates(candidates),
        settings=whole.settings.changed({"threads": 1}),
    )
    return Work(
        len(candidates.user_id),
        _NextDay(common, rules),
        lambda rows: (rows.start, _Listed.of(candidates, rows)),
    )


@dataclass(frozen=True)
class _Listed:
    """What Candidates have of some users: a row for each."""

    user_id: np.ndarray
    has_history: np.ndarray
    seen: np.ndarray  # the rows of SeenBits

    @classmethod
    def of(cls, candidates: Candidates, rows: slice) -> "_Listed":
        return cls(candidates.user_id[rows], candidates.has_history[rows], candidates.seen.rows[rows])

    def of_candidates(self, candidates: Candidates) -> Candidates:
        """The same videos for these users."""
        return replace(
            candidates,
            user_id=self.user_id,
            has_history=self.has_history,
            seen=replace(candidates.seen, rows=self.seen),
            played=None,
        )


@dataclass(frozen=True)
class _Users:
    """The inputs of scoring for some users, from Candidates and JoinedFeatures: arrays of a row per user."""

    listed: _Listed
    values: np.ndarray
    factors: np.ndarray
    pairs: tuple[PairTable, ...]

    @classmethod
    def of(cls, candidates: Candidates, joined: JoinedFeatures, rows: slice) -> "_Users":
        return cls(
            _Listed.of(candidates, rows),
            joined.users.values[rows],
            joined.user_factors[rows],
            tuple(table.of_users(rows) for table in joined.pairs),
        )

    def features(self, of: JoinedFeatures) -> EncodedFeatures:
        return replace(of.users, values=self.values)


@dataclass(frozen=True)
class _Shown:
    """What the lists of every part of the users share.

    Attributes:
        candidates, joined: without users.
        model: the version's files by name.
        retrieval: its index included.
        order: the mean over users of what orders each video; None if no score is shrunk.
    """

    candidates: Candidates
    joined: JoinedFeatures
    model: dict[str, bytes]
    retrieval: Retrieval | None
    order: np.ndarray | None
    settings: RankerNeeds
    rules: ListRules | None

    def opened(self) -> Callable[[Any], Lists]:
        """Load the model and evaluate its splits on videos, once."""
        with TemporaryDirectory(prefix="nightreel-model-") as folder:
            for name, content in self.model.items():
                (Path(folder) / name).write_bytes(content)
            ranker = HybridRanker.load(Path(folder), threads=1)
        of_videos = PairRanker.of(ranker, self.joined)

        def lists(users: _Users) -> Lists:
            candidates = users.listed.of_candidates(self.candidates)
            own = of_videos.with_users(users.features(self.joined), users.factors, users.pairs)
            made = score_with(candidates, own, self.retrieval, self.settings, self.order)
            found = Lists.concatenate(made)
            return found if self.rules is None else self.rules.lists(found, candidates)

        return lists


@dataclass(frozen=True)
class _NextDay:
    """The night is sent to each process whole: sources and histories are those of all users.

    whole: its candidates are without users.
    """

    whole: NextDayScoring
    rules: ListRules | None

    def opened(self) -> Callable[[Any], Lists]:
        """Nothing has to be prepared."""

        def lists(part: tuple[int, _Listed]) -> Lists:
            first, users = part
            candidates = users.of_candidates(self.whole.candidates)
            own = replace(self.whole, candidates=candidates, first=first)
            found = Lists.concatenate(own.blocks(0, len(candidates.user_id)))
            return found if self.rules is None else self.rules.lists(found, candidates)

        return lists
