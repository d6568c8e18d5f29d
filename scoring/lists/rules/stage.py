"""The one module in which lists leave the model's order: it makes each user's list from many ordered rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

import numpy as np

from nightreel.core.ascending import indices_in
from nightreel.core.settings import ListSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.rankers.filtering import filter_size
from pipelines.repeat_discount import REPEAT_NIGHTS
from scoring.lists.candidates import Candidates, Cap
from scoring.lists.rows import RULE, Lists
from scoring.lists.rules.compose import REPEAT, Chosen, Pin, Quota, compose
from scoring.lists.rules.exploration import EXPLORE_AFTER, EXPLORE_AMONG, EXPLORE_TEMPERATURE, Exploration
from scoring.lists.rules.likeness import TextAndCategory
from scoring.lists.rules.owner import AT_LEAST, AT_MOST, BOOST, DEMOTE, PIN, NightRules
from scoring.lists.rules.repeats import RepeatDiscount


@dataclass(frozen=True)
class _OfUsers:
    """The effect of the rules on users for whom the same rules hold.

    Attributes:
        moved: the names of boosts and demotions with their videos.
        factor: float64 [videos], by which positions are multiplied.
        pins: without those of videos that the user cannot have.
    """

    moved: tuple[tuple[str, np.ndarray], ...]
    factor: np.ndarray
    pins: tuple[Pin, ...]
    quotas: tuple[Quota, ...]


@dataclass(frozen=True)
class ListRules:
    """Everything that moves rows of a night's lists; `received`: int64 [videos], as `ordering.received`."""

    rules: NightRules
    caps: tuple[Cap, ...]
    video_id: np.ndarray
    received: np.ndarray
    top_k: int
    likeness: TextAndCategory | None = None
    exploration: Exploration | None = None
    repeats: RepeatDiscount | None = None
    _known: dict[bytes, _OfUsers] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        joined: JoinedFeatures,
        as_of: datetime,
        settings: ListSettings,
        seed: int,
    ) -> "ListRules | None":
        """The rules of a night; None if nothing is to be moved."""
        likeness = exploration = repeats = None
        if settings.diversity > 0:
            about = candidates.about
            unknown = np.full(len(candidates.video_id), -1, dtype=np.int64)
            likeness = TextAndCategory.of(
                settings.diversity, joined, unknown if about is None else about.category
            )
        if settings.explore_share > 0:
            exploration = Exploration(
                settings.explore_share,
                EXPLORE_AFTER,
                EXPLORE_AMONG,
                EXPLORE_TEMPERATURE,
                f"{seed}|{as_of.isoformat()}",
            )
        discount = settings.fixed_repeat_discount
        if discount > 0 and candidates.repeats is not None and len(candidates.repeats):
            repeats = RepeatDiscount(candidates.repeats, REPEAT_NIGHTS, discount)
        if not candidates.rules.rules and not (likeness or exploration or repeats):
            return None
        return cls(
            candidates.rules,
            candidates.caps,
            candidates.video_id,
            joined.received(),
            settings.top_k,
            likeness,
            exploration,
            repeats,
        )

    def lists(self, block: Lists, candidates: Candidates) -> Lists:
        """The lists of some users.

        Args:
            block: all rows of these users in the model's order, without caps, and more than a list has.
            candidates: of these users, among others.
        """
        if not len(block):
            return block
        starts = np.flatnonzero(np.r_[True, block.user_id[1:] != block.user_id[:-1]])
        bounds = pairwise([*starts.tolist(), len(block)])
        return Lists.concatenate(
            self._list(block.rows(slice(first, last)), candidates) for first, last in bounds
        )

    def _list(self, rows: Lists, candidates: Candidates) -> Lists:
        user_id = int(rows.user_id[0])
        said = self._of_user(user_id)
        at_user = int(np.searchsorted(candidates.user_id, user_id))
        open_videos = candidates.open_videos(at_user)
        videos = np.searchsorted(self.video_id, rows.video_id)
        factor = said.factor[videos]
        repeat = np.ones(len(rows))
        if self.repeats is not None:
            repeat = self.repeats.factors(user_id, rows.video_id)
        positions = np.arange(1, len(rows) + 1) * factor * repeat
        order = np.argsort(positions, kind="stable")
        pins = tuple(pin for pin in said.pins if open_videos.holds(np.array([pin.video]))[0])

        def others() -> np.ndarray:
            rest = np.flatnonzero(open_videos.dense())
            found: np.ndarray = rest[np.argsort(-self.received[rest], kind="stable")]
            return found

        draw = None
        if self.exploration is not None:
            length = min(self.top_k, len(open_videos))
            draw = self.exploration.of_list(user_id, length, rows.score[order])
        chosen = compose(
            videos[order],
            self.top_k,
            pins=pins,
            quotas=said.quotas,
            caps=self.caps,
            likeness=self.likeness,
            draw=draw,
            others=others,
        )
        return self._rows(rows, videos, chosen, said, repeat)

    def _rows(
        self, rows: Lists, videos: np.ndarray, chosen: Chosen, said: _OfUsers, repeat: np.ndarray
    ) -> Lists:
        """The rows of the chosen videos, in their order, each with what moved it."""
        listed = np.array(chosen.video, dtype=np.int64)
        by_video = np.argsort(videos, kind="stable")
        at, is_known = indices_in(videos[by_video], listed)
        at = by_video[at]
        found = rows.rows(at)
        least = float(rows.score.min())
        stages = ("classifier_score", "regressor_score", "als_score")
        rule = np.array(chosen.rule, dtype=object)
        for row in _displaced(at, is_known & ~np.char.startswith(rule.astype(str), PIN)):
            moves = [name for name, of_rule in said.moved if of_rule[listed[row]]]
            moves += [REPEAT] if repeat[at[row]] != 1 else []
            rule[row] = ",".join(filter(None, [rule[row], *moves]))
        drawn = np.array(chosen.propensity) if self.exploration is not None else np.full(len(listed), np.nan)
        return replace(
            found,
            rank=np.arange(1, len(listed) + 1, dtype=np.int32),
            video_id=self.video_id[listed],
            score=np.where(is_known, found.score, least),
            **{name: np.where(is_known, getattr(found, name), np.nan) for name in stages},
            source=np.where(is_known, found.source, RULE),
            candidate_sources=np.where(is_known, found.candidate_sources, ""),
            rule=rule.astype(np.str_),
            propensity=drawn,
        )

    def _of_user(self, user_id: int) -> _OfUsers:
        holds = np.array([rule.is_for(np.array([user_id]))[0] for rule in self.rules.rules], dtype=bool)
        key = holds.tobytes()
        if key not in self._known:
            self._known[key] = self._said(holds)
        return self._known[key]

    def _said(self, holds: np.ndarray) -> _OfUsers:
        factor = np.ones(len(self.video_id))
        moved, pins, quotas = [], [], []
        for rule in np.array(self.rules.rules, dtype=object)[holds]:
            if rule.kind in (BOOST, DEMOTE):
                by = rule.strength if rule.kind == DEMOTE else 1 / rule.strength
                factor[rule.videos] *= by
                moved.append((rule.name, rule.videos))
            elif rule.kind == PIN:
                pins.append(Pin(rule.name, rule.number, int(np.flatnonzero(rule.videos)[0])))
            else:
                least = rule.number if rule.kind == AT_LEAST else 0
                most = rule.number if rule.kind == AT_MOST else None
                quotas.append(Quota(rule.name, rule.videos, least, most))
        return _OfUsers(tuple(moved), factor, tuple(pins), tuple(quotas))


def _displaced(at: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rows of a list that follow other rows than in the model's order: int64.

    Args:
        at: each row's index in that order.
        counts: bool, whether the row has one and is placed by it.
    """
    rows = np.flatnonzero(counts)
    if not len(rows):
        return rows
    rank = np.argsort(np.argsort(at[rows]))
    highest = np.r_[-1, np.maximum.accumulate(rank)[:-1]]
    in_place = (rank == np.arange(len(rows))) & (highest == np.arange(len(rows)) - 1)
    displaced: np.ndarray = rows[~in_place]
    return displaced


def before_rules(candidates: Candidates, settings: RankerNeeds) -> tuple[Candidates, RankerNeeds]:
    """Candidates and settings for lists that rules will change: no caps, and all that the filter keeps."""
    longer = settings.changed({"lists.top_k": filter_size(settings.ranker, settings.lists)})
    return replace(candidates, caps=()), longer


def with_rules(
    lists: Callable[[Candidates, RankerNeeds], Iterator[Lists]],
    rules: ListRules | None,
    candidates: Candidates,
    settings: RankerNeeds,
) -> Iterator[Lists]:
    """The lists after the rules; `lists` makes them, in the candidates' user order."""
    if rules is None:
        return lists(candidates, settings)
    return (rules.lists(block, candidates) for block in lists(*before_rules(candidates, settings)))
