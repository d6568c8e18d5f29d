"""The arms of an experiment: what each night counts for them, and what all nights together show.

A user stays in an arm, so nights are not independent. The interval of the difference over several nights
assumes nothing about how they depend on each other: the standard error of a mean of nights is at most the
mean of their standard errors (Minkowski's inequality). The result may be looked at every night: look t spends
alpha / (t (t + 1)), which sums to alpha over all future looks (Bonferroni over looks; spending after Lan and
DeMets, Biometrika 1983). So the whole sequence of intervals covers the truth with probability 1 - alpha,
whenever one stops.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from nightreel.core import columns
from scoring.outcomes.card import ArmFacts, Difference
from scoring.outcomes.log import LIKED

ALPHA = 0.05
# Below it, the arms do not have the users that the shares promise: some users are misassigned or lost.
MISMATCH_ALPHA = 0.001
# For an arm's active users: how many played or liked something from their list; rows played, rows liked.
FIGURES = ("reached", "reached_liked", "played", "liked")


def figures_of_arms(
    run: Any, users: pl.DataFrame, pairs: pl.DataFrame, hits: pl.DataFrame
) -> list[dict[str, Any]]:
    """A run's rows of `list_arm`, without run_id; none if it had no experiment.

    Args:
        users: user_id, arm.
        pairs: the played pairs.
        hits: one row per played row of a list.
    """
    if run.arms is None:
        return []
    of_users = hits.group_by(columns.USER_ID).agg(
        pl.len().cast(pl.Int64).alias("n"), pl.col(LIKED).cast(pl.Int64).sum().alias("n_liked")
    )
    active = pairs.select(columns.USER_ID).unique().with_columns(active=pl.lit(True))
    every = users.join(active, on=columns.USER_ID, how="left").join(of_users, on=columns.USER_ID, how="left")
    n, n_liked = (pl.col(name).fill_null(0) for name in ("n", "n_liked"))
    is_active = pl.col("active").fill_null(False)
    counted = every.group_by(columns.ARM).agg(
        pl.len().alias("users"),
        is_active.sum().alias("active_users"),
        (n > 0).sum().alias("reached"),
        (n_liked > 0).sum().alias("reached_liked"),
        n.sum().alias("played"),
        (n * n).sum().alias("played_squared"),
        n_liked.sum().alias("liked"),
        (n_liked * n_liked).sum().alias("liked_squared"),
    )
    by_arm = {row[columns.ARM]: row for row in counted.cast({pl.UInt32: pl.Int64}).to_dicts()}
    names = ("users", "active_users", *FIGURES, "played_squared", "liked_squared")
    experiment = json.loads(run.arms)
    return [
        {columns.ARM: name, "position": at, "salt": experiment["salt"]}
        | {"share": arm["share"], "model_version": arm["model"]}
        | {one: int(by_arm.get(name, {}).get(one, 0)) for one in names}
        for at, (name, arm) in enumerate(experiment["arms"].items())
    ]


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> float:
    """Probability of arms at least as uneven as these if the shares hold (chi-squared); 1 without users."""
    total = sum(users)
    if not total or len(users) < 2:
        return 1.0
    statistic = sum(
        (n - total * share) ** 2 / (total * share) for n, share in zip(users, shares, strict=True)
    )
    # Not at the top: `nightreel status` imports this module, and scipy takes .15 s.
    from scipy.special import chdtrc

    return float(chdtrc(len(users) - 1, statistic))


def spent(look: int) -> float:
    """The part of ALPHA that is spent at the interim look with this number (from 1)."""
    return ALPHA / (look * (look + 1))


def difference(nights: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], figure: str) -> Difference:
    """An arm minus the first one, over nights: the mean difference, and its interval at the last look.

    All three are None without a night in which both arms have two active users.

    Args:
        nights: rows of `list_arm`, (the first arm's, the other's).
        figure: `reached` or `reached_liked` (shares of active users), `played` or `liked` (rows per user).
    """
    used = [
        pair
        for pair in nights
        if min(one["active_users"] for one in pair) > 1 and None not in [one[figure] for one in pair]
    ]
    if not used:
        return {"estimate": None, "low": None, "high": None, "looks": 0}
    estimate = math.fsum(_mean(other, figure) - _mean(first, figure) for first, other in used) / len(used)
    errors = (math.sqrt(_variance(first, figure) + _variance(other, figure)) for first, other in used)
    from scipy.special import ndtri

    half = -float(ndtri(spent(len(used)) / 2)) * math.fsum(errors) / len(used)
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half, "looks": len(used)}


def _mean(row: Mapping[str, Any], figure: str) -> float:
    return float(row[figure] / row["active_users"])


def _variance(row: Mapping[str, Any], figure: str) -> float:
    """The variance of the mean over active users; never 0, as a few users may all do the same."""
    n, total = row["active_users"], row[figure]
    squares = row.get(f"{figure}_squared", total)
    # One user of each kind more, as for the intervals of shares.
    mean = (total + 1) / (n + 2)
    of_users = (squares + 1) / (n + 2) - mean**2
    return float(max(of_users, 0.0) / (n + 2))


def arms_over_nights(nights: Sequence[Sequence[Mapping[str, Any]]]) -> list[ArmFacts]:
    """The results of all nights of the newest experiment, for each arm.

    Args:
        nights: the rows of `list_arm` of each judged night, oldest first; arms in the order of the settings,
            the first being the baseline. Nights with another salt, arms or shares belong to other
            experiments.
    """
    if not nights:
        return []
    same = [night for night in nights if _what(night) == _what(nights[-1])]
    probability = sample_ratio([row["users"] for row in same[-1]], [row["share"] for row in same[-1]])
    found = []
    for at, newest in enumerate(same[-1]):
        rows = [night[at] for night in same]
        against_first = {
            name: difference([(night[0], night[at]) for night in same], name) for name in FIGURES if at
        }
        found.append(
            ArmFacts(
                arm=newest[columns.ARM],
                share=newest["share"],
                model_version=newest["model_version"],
                users=newest["users"],
                nights=len(rows),
                active_user_nights=sum(one["active_users"] for one in rows),
                reached=_over_nights(rows, "reached"),
                reached_liked=_over_nights(rows, "reached_liked"),
                played=_over_nights(rows, "played"),
                liked=_over_nights(rows, "liked"),
                sample_ratio_p=probability,
                sample_ratio_mismatch=probability < MISMATCH_ALPHA,
                against_first=against_first,
            )
        )
    return found


def _over_nights(rows: Sequence[Mapping[str, Any]], figure: str) -> float | None:
    """A figure per active user and night; None if no night has it."""
    known = [row for row in rows if row[figure] is not None]
    active = sum(row["active_users"] for row in known)
    if not known:
        return None
    return sum(row[figure] for row in known) / active if active else 0.0


def _what(night: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["salt"], row[columns.ARM], row["share"]) for row in night]
