"""Estimates for another model: its order for a run's users, compared with the rows that were drawn."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection, Row

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.errors import InputError
from nightreel.core.ids import ListIds
from nightreel.core.settings.needs import NightNeeds
from nightreel.core.steps import Facts, StepResult
from pipelines import model_registry
from pipelines.local_days import ALWAYS_KNOWN
from pipelines.model_registry import ModelVersion
from pipelines.rankers.filtering import filter_size
from scoring.database.connection import reading
from scoring.database.kept_runs import run_or_shown
from scoring.database.loading import read_lists
from scoring.database.night_lists import lists_of_night
from scoring.database.replay import as_known_at
from scoring.database.schema import require_current
from scoring.database.url import database_url, masked
from scoring.lists.arms import Arm
from scoring.lists.eligibility import NOBODY
from scoring.lists.parts import Work
from scoring.lists.rows import Lists
from scoring.lists.rules.exploration import EXPLORE_AFTER, EXPLORE_AMONG, EXPLORE_TEMPERATURE, Exploration
from scoring.outcomes.before import Before
from scoring.outcomes.exposures import exposures_of
from scoring.outcomes.log import LIKED, Log
from scoring.outcomes.windows import shown_runs
from scoring.policy.estimators import Estimate, Logged, doubly_robust, ips, snips

# What a video's own rewards count against the mean of all, in rows.
_PRIOR_ROWS = 20.0
# Below it, the estimates leave out more than noise.
_FULL_SUPPORT = 0.95


class PolicyFacts(Facts):
    """The run that drew, the evaluated model, how many rows and users, each estimate with its interval.

    Attributes:
        support: share of the model's own draws that the logged draw could have offered.
    """

    run_id: int
    model: str
    rows: int
    users: int
    estimates: list[dict[str, Any]]
    support: dict[str, float | None]
    database: str


@dataclass(frozen=True)
class Drawn:
    """Rows that were drawn, one entry per row: user, video, and propensity.

    Attributes:
        evaluated: the video's probability under the evaluated model.
        choices: the videos that this model would have drawn from, and their probabilities.
    """

    user: np.ndarray
    video: np.ndarray
    propensity: np.ndarray
    evaluated: np.ndarray
    choices: list[tuple[np.ndarray, np.ndarray]]

    def rows(self, which: np.ndarray) -> "Drawn":
        """Those of the rows, by a mask."""
        choices = [one for one, kept in zip(self.choices, which.tolist(), strict=True) if kept]
        user, video = self.user[which], self.video[which]
        return Drawn(user, video, self.propensity[which], self.evaluated[which], choices)


@dataclass(frozen=True)
class Judged:
    """Drawn rows of a run, and 1 for each that was liked, else 0: float64 [rows]."""

    run_id: int
    drawn: Drawn
    reward: np.ndarray


def evaluate_policy(
    settings: NightNeeds, version: str, *, run_id: int | None = None, now: datetime | None = None
) -> StepResult[PolicyFacts]:
    """Estimate the share of drawn rows with a liked video if another model had made the order drawn from.

    Each rank is evaluated given the rows that were shown above it. Where an exposure log has the run, rows
    that were not displayed are left out: whether one was depends on the rows above it, not on its video.

    Args:
        version: of the evaluated model.
        run_id: by default the run that apps read.

    Raises:
        InputError: the run has no drawn rows or was not shown yet, or the model is unknown.
    """
    now = now or datetime.now(UTC)
    found = drawn_under(settings, version, run_id=run_id, now=now)
    support = support_of(found.drawn)
    remarks: tuple[str, ...] = ()
    if support.high < _FULL_SUPPORT:
        share = f"about {support.value:.0%} of what {version} would draw"
        remarks = (f"{share} could have been drawn; the estimates say nothing of the rest",)
    facts = PolicyFacts(
        run_id=found.run_id,
        model=version,
        rows=len(found.reward),
        users=len(np.unique(found.drawn.user)),
        estimates=estimates_of(found.drawn, found.reward),
        support=_finite(support),
        remarks=remarks or None,
        database=masked(database_url(settings)),
    )
    folder = model_registry.find(settings.paths, version).folder
    return StepResult("policy", False, (folder,), (), facts)


def drawn_under(settings: NightNeeds, version: str, *, run_id: int | None, now: datetime) -> Judged:
    """The drawn rows of a run that count, under another model, and their outcomes.

    Raises:
        InputError: as `evaluate_policy`.
    """
    model = model_registry.find(settings.paths, version)
    ids = ListIds.of(settings.paths)
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
        of_runs = shown_runs(connection, now)
        shown = next((one for one in of_runs if one.run.run_id == run.run_id), None)
        if shown is None:
            raise InputError(f"Run {run.run_id}: apps have not read it yet.", "Wait until they have.")
        with as_known_at(settings, run.known_at or ALWAYS_KNOWN) as home:
            drawn = _together(list(_drawn(connection, run, _orders(home, run, model), ids)))
    if not len(drawn.user):
        raise InputError(
            f"Run {run.run_id}: none of its rows was drawn by chance.",
            f"Set [lists] explore_share before a run, and top_k above {EXPLORE_AFTER}: "
            "the first rows are never drawn.",
        )
    log = Log(settings)
    exposures = exposures_of(log, shown, now)
    if exposures is not None:
        drawn = drawn.rows(_are_in(drawn, exposures.pairs))
        if not len(drawn.user):
            raise InputError(f"Run {run.run_id}: no drawn row was displayed.", "Wait until some are.")
    plays = log.within(shown.spans) if exposures is None else exposures.plays
    before = Before(settings, run.as_of, run.known_at)
    pairs = log.pairs(plays, log.buckets(run.model_version, before))
    return Judged(run.run_id, drawn, _rewards(drawn, pairs))


def _orders(home: NightNeeds, run: Row[Any], model: ModelVersion) -> Iterator[Lists]:
    """The model's own order of all that its filter keeps, for every user of a run's night."""
    plain = home.changed(
        {
            "lists.top_k": max(filter_size(home.ranker, home.lists), run.k),
            "lists.explore_share": 0.0,
            "lists.diversity": 0.0,
            "lists.repeat_discount": 0.0,
            "cluster.engine": "local",
        }
    )
    _, (found,) = lists_of_night(
        plain,
        open_store(),
        (Arm("", 1.0, model),),
        experiment=None,
        instant=run.as_of,
        exclusions=NOBODY,
        known_at=run.known_at or ALWAYS_KNOWN,
    )
    assert not isinstance(found.lists, Work)
    return found.lists


def _drawn(connection: Connection, run: Row[Any], orders: Iterator[Lists], ids: ListIds) -> Iterator[Drawn]:
    """The drawn rows of a run, some users at a time.

    Args:
        orders: the other model's orders for these users.
    """
    exploration = Exploration(1.0, 0, EXPLORE_AMONG, EXPLORE_TEMPERATURE, "")
    for order in orders:
        stored = read_lists(connection, run.run_id, int(order.user_id[0]), int(order.user_id[-1]), ids)
        yield drawn_rows(stored, order, exploration)


def drawn_rows(stored: Lists, order: Lists, exploration: Exploration) -> Drawn:
    """The drawn rows of these lists, and the candidates of each draw in another order.

    Args:
        stored, order: lists of the same users, by user and rank.
    """
    rows = np.flatnonzero(stored.propensity < 1)
    evaluated, choices = np.zeros(len(rows)), []
    for at, row in enumerate(rows.tolist()):
        user, rank = int(stored.user_id[row]), int(stored.rank[row])
        of_order = slice(*np.searchsorted(order.user_id, [user, user + 1]).tolist())
        videos = order.video_id[of_order]
        above = stored.video_id[row - rank + 1 : row]
        left = np.flatnonzero(~np.isin(videos, above))[: exploration.among]
        draws = exploration.of_list(user, 0, order.score[of_order])
        weights = draws.weights(left).astype(np.float64)
        probabilities = weights / weights.sum() if len(left) else weights
        evaluated[at] = probabilities[videos[left] == stored.video_id[row]].sum()
        choices.append((videos[left], probabilities))
    return Drawn(stored.user_id[rows], stored.video_id[rows], stored.propensity[rows], evaluated, choices)


def _together(parts: list[Drawn]) -> Drawn:
    names = ("user", "video", "propensity", "evaluated")
    arrays = (np.concatenate([np.zeros(0), *(getattr(part, name) for part in parts)]) for name in names)
    user, video, propensity, evaluated = arrays
    choices = [one for part in parts for one in part.choices]
    return Drawn(user.astype(np.int64), video.astype(np.int64), propensity, evaluated, choices)


def _are_in(drawn: Drawn, pairs: pl.DataFrame) -> np.ndarray:
    asked = pl.DataFrame({columns.USER_ID: drawn.user, columns.VIDEO_ID: drawn.video})
    found = asked.join(pairs.with_columns(there=True), on=asked.columns, how="left", maintain_order="left")
    return found["there"].fill_null(value=False).to_numpy()


def _rewards(drawn: Drawn, pairs: pl.DataFrame) -> np.ndarray:
    asked = pl.DataFrame({columns.USER_ID: drawn.user, columns.VIDEO_ID: drawn.video})
    found = asked.join(pairs, on=asked.columns, how="left", maintain_order="left")
    return found[LIKED].fill_null(False).to_numpy().astype(np.float64)


def support_of(drawn: Drawn) -> Estimate:
    """The share of the other order's draws that could have been drawn: the mean of the weights."""
    every = np.ones(len(drawn.user))
    return ips(Logged(drawn.user, every, drawn.propensity, np.minimum(drawn.evaluated, 1.0)))


def estimates_of(drawn: Drawn, reward: np.ndarray) -> list[dict[str, Any]]:
    """Each estimator's name, value, interval and effective sample size."""
    logged = Logged(drawn.user, reward, drawn.propensity, np.minimum(drawn.evaluated, 1.0))
    itself = Logged(drawn.user, reward, drawn.propensity, drawn.propensity)
    expected, of_policy = _expected(drawn, reward)
    estimates = {
        "as it was": ips(itself),
        "ips": ips(logged),
        "snips": snips(logged),
        "doubly robust": doubly_robust(logged, expected, of_policy),
    }
    return [{"estimator": name, **_finite(found)} for name, found in estimates.items()]


def _finite(estimate: Estimate) -> dict[str, float | None]:
    """For JSON: None where one user alone, or no weight, gives no number."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(estimate).items()}


def _expected(drawn: Drawn, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The expected reward of each row, and of the evaluated model's choices, by a reward model.

    The model is each video's mean reward among the other half of the users, shrunk to the mean of all: fitted
    on no row that it is asked about.
    """
    half = (drawn.user % 2).astype(np.int64)
    expected, of_policy = np.zeros(len(reward)), np.zeros(len(reward))
    for one in (0, 1):
        fit = half != one
        mean = float(reward[fit].mean()) if fit.any() else 0.0
        videos, at = np.unique(drawn.video[fit], return_inverse=True)
        sums = np.bincount(at, reward[fit], minlength=len(videos)) + _PRIOR_ROWS * mean
        means = sums / (np.bincount(at, minlength=len(videos)) + _PRIOR_ROWS)
        for row in np.flatnonzero(~fit).tolist():
            asked, probabilities = drawn.choices[row]
            expected[row] = _of_videos(drawn.video[row : row + 1], videos, means, mean)[0]
            of_policy[row] = float(probabilities @ _of_videos(asked, videos, means, mean))
    return expected, of_policy


def _of_videos(asked: np.ndarray, videos: np.ndarray, means: np.ndarray, mean: float) -> np.ndarray:
    at, known = indices_in(videos, asked)
    found = np.full(len(asked), mean)
    found[known] = means[at[known]]
    return found
