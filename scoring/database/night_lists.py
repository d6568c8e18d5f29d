"""A night's lists, arm by arm: who is listed is found once, each arm's users are scored by its own model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.needs import NightNeeds
from pipelines.known import last_arrival
from pipelines.model_rows.joined_features import join_features
from pipelines.rankers import HybridRanker
from scoring.lists.arms import Arm, arms_of
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import Exclusions, find_candidates
from scoring.lists.parts import Work
from scoring.lists.rows import Lists
from scoring.lists.score_model import lists_of_model, work_of_model


@dataclass(frozen=True)
class ArmLists:
    """The lists of an arm's users, made here or on a cluster; `candidates` are of these users."""

    arm: Arm
    candidates: Candidates
    lists: Iterator[Lists] | Work


def lists_of_night(
    home: NightNeeds,
    store: FeatureStore,
    arms: Sequence[Arm],
    *,
    experiment: ExperimentSettings | None,
    instant: datetime,
    exclusions: Exclusions,
    known_at: datetime,
    is_home_kept: bool = True,
) -> tuple[Candidates, list[ArmLists]]:
    """The candidates of all users, and each arm's lists.

    Args:
        home: settings of a home that holds what was known then.
        is_home_kept: whether it is still there when the lists are made.

    Raises:
        InputError: an arm has no user.
    """
    # What has no time of its own, such as who a user is, is used as soon as it has arrived.
    profiles_at = known_at if last_arrival(home.paths) > instant else None
    every = find_candidates(
        home, store, instant, exclusions, profiles_at=profiles_at, read_now=not is_home_kept
    )
    at = np.zeros(len(every.user_id), dtype=np.int64)
    if experiment is not None:
        at = arms_of(experiment, every.user_id, Ids.of(home.paths, columns.USER_ID))
    found = []
    for number, arm in enumerate(arms):
        own = every if experiment is None else every.of_users(np.flatnonzero(at == number))
        if not len(own.user_id):
            raise InputError(
                f"arm {arm.name}: none of the {len(at)} users is in it.", "Give it a larger share."
            )
        settings = arm.settings(home)
        ranker = HybridRanker.load(arm.model.folder, threads=settings.threads)
        joined = join_features(
            store,
            ranker.encoding,
            own.user_id,
            own.video_id,
            as_of=instant,
            zone=settings.data.zone,
            profiles_at=profiles_at,
        )
        if settings.cluster.engine == "ray":
            work = work_of_model(own, joined, model=arm.model, as_of=instant, settings=settings)
            found.append(ArmLists(arm, own, work))
        else:
            lists = lists_of_model(own, joined, ranker, model=arm.model, as_of=instant, settings=settings)
            found.append(ArmLists(arm, own, in_arm(lists, arm.name)))
    return every, found


def in_arm(blocks: Iterator[Lists], name: str) -> Iterator[Lists]:
    """The same lists, marked with the arm's name."""
    return (replace(block, arm=np.full(len(block), name)) for block in blocks)
