"""A past night: what every system makes its lists of that day from, as of the day's start."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property

import numpy as np
import polars as pl
from feast import FeatureStore

from feature_repo.open_store import store as open_store
from nightreel.core.errors import InputError
from nightreel.core.memory import give_back_memory
from nightreel.core.settings.needs import NightNeeds
from pipelines.backtest_files import DEPTH, BacktestDay, sampled_share
from pipelines.local_days import end_of_day, start_of_day
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.model_rows.night import Night
from pipelines.rankers import HybridRanker
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.slices import days_of_table
from pipelines.user_sample import UserSample
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import NOBODY, find_candidates
from scoring.lists.next_day import night_of
from scoring.lists.rules.owner import OwnerRule

# Systems that are only compared make lists of this many users, which is enough for their figures: their lists
# cost as much as the published ones (docs/decisions/savings.md).
BACKTEST_USERS = 1_000


@dataclass(frozen=True)
class PastNight:
    """One day of the backtest: what was known at its start, and the models fitted on that.

    Attributes:
        plays: of the users who count; only plays before the day are used.
        ranker: the champion's, of shown plays.
        settings: as for publishing.
        whole: for a night of `sampled`, the night of all users.
    """

    day: BacktestDay
    candidates: Candidates
    plays: pl.DataFrame
    store: FeatureStore
    ranker: HybridRanker
    settings: NightNeeds
    whole: "PastNight | None" = None

    @cached_property
    def sampled(self) -> "PastNight":
        """The same night for the sample of users whose lists every system makes."""
        user_id = self.candidates.user_id
        chosen = self.day.is_sampled(user_id, self.settings.seed)
        if chosen.all():
            return self
        return replace(self, candidates=self.candidates.of_users(chosen), whole=self)

    def forget(self) -> None:
        """Release what was made for this night (1 GB for KuaiRec).

        A sampled night and the whole one refer to each other, so neither would be released otherwise.
        """
        for made in ("night", "joined", "pair_ranker", "sampled"):
            vars(self).pop(made, None)

    @property
    def depth(self) -> int:
        """Length of the lists, at most the size of the catalogue."""
        return min(DEPTH, len(self.candidates.video_id))

    @property
    def is_moved(self) -> bool:
        """Whether an own model or rules change the order of lists after the rankers."""
        settings = self.settings
        of_settings = (
            settings.ranker.last_stage is not None
            or settings.lists.diversity > 0
            or settings.lists.explore_share > 0
        )
        return of_settings or bool(self.candidates.rules.rules)

    @cached_property
    def joined(self) -> JoinedFeatures:
        """Feast's features of users and videos, joined once for all systems."""
        candidates = self.candidates
        if self.whole is not None:
            return self.whole.joined.of_users(
                np.searchsorted(self.whole.candidates.user_id, candidates.user_id)
            )
        return join_features(
            self.store,
            self.ranker.encoding,
            candidates.user_id,
            candidates.video_id,
            as_of=self.day.as_of,
            zone=self.settings.data.zone,
        )

    @cached_property
    def pair_ranker(self) -> PairRanker:
        """The models of shown plays over these features, taken apart once for all systems."""
        if self.whole is None:
            return PairRanker.of(self.ranker, self.joined)
        joined = self.joined
        return self.whole.pair_ranker.with_users(joined.users, joined.user_factors, joined.pairs)

    @cached_property
    def night(self) -> Night:
        """The candidate sources, fitted on the plays before the day, and the pair features."""
        if self.whole is not None and "night" in vars(self.whole):
            return self.whole.night.of_users(self.joined, self.settings)
        return night_of(self.candidates, self.joined, self.plays, self.day.as_of, self.settings)


class PastNights:
    """The last days whose plays trained nothing; `remarks` says why other days are missing."""

    def __init__(
        self,
        plays: pl.DataFrame,
        ranker: HybridRanker,
        trained_before: datetime,
        settings: NightNeeds,
        rules: tuple[OwnerRule, ...] = (),
    ) -> None:
        """Find the nights that the log has.

        Args:
            plays: of the users who count (`UserSample`), in order of time; nobody else gets a list.
            ranker: the champion's, of shown plays.
            trained_before: no ranker has seen a play from this instant on.
            rules: the owner's; each night keeps to those in force at its start.
        """
        self._owner = replace(NOBODY, rules=rules)
        self._plays, self._ranker, self._settings = plays, ranker, settings
        self._sample = UserSample.of(settings)
        self._store = open_store()
        self.remarks: list[str] = []
        zone = settings.data.zone
        days = days_of_table(settings.paths.interactions)
        honest = [day for day in days if start_of_day(day, zone) >= trained_before]
        honest = honest[-settings.evaluation.backtest_days :]
        if len(honest) < settings.evaluation.backtest_days:
            self.remarks.append(
                f"{len(honest)} of [evaluation] backtest_days = {settings.evaluation.backtest_days}: the "
                f"rankers were trained on what came before {trained_before.astimezone(zone):%Y-%m-%d}; a new "
                "model may give more."
            )
        self._found = self._listable(honest)

    @property
    def days(self) -> tuple[BacktestDay, ...]:
        """The days that are judged."""
        return tuple(day for day, _ in self._found)

    def __iter__(self) -> Iterator[PastNight]:
        """One night after the other; what a night has read is released with it."""
        for day, candidates in self._found:
            night = PastNight(day, candidates, self._plays, self._store, self._ranker, self._settings)
            yield night
            night.forget()
            give_back_memory()

    def _listable(self, days: Sequence[date]) -> list[tuple[BacktestDay, Candidates]]:
        zone = self._settings.data.zone
        found = []
        with ThreadPoolExecutor(self._settings.threads) as pool:
            of_days = list(pool.map(self._candidates, days))
        for day, candidates in zip(days, of_days, strict=True):
            if isinstance(candidates, InputError):
                self.remarks.append(f"{day}: no lists. {candidates}")
                continue
            user_id, most = candidates.user_id, BACKTEST_USERS
            judged = BacktestDay(
                day,
                start_of_day(day, zone),
                end_of_day(day, zone),
                users=len(user_id),
                videos=len(candidates.video_id),
                sampled_share=sampled_share(user_id, most, self._settings.seed),
                sampled_users=min(len(user_id), most),
            )
            found.append((judged, candidates))
        return found

    def _candidates(self, day: date) -> Candidates | InputError:
        """The users and videos of a day, or why there are none."""
        as_of = start_of_day(day, self._settings.data.zone)
        try:
            found = find_candidates(self._settings, self._store, as_of, self._owner, plays=self._plays)
        except InputError as error:
            return error
        return found.of_users(self._sample.holds(found.user_id))
