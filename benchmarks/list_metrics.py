"""How good are lists against what users went on to like? Figures a user, so that they can be drawn again.

Every figure is a quotient of sums over users: NDCG and precision have 1 a user below, so they are means over
users; recall has either 1 (a mean over users) or the user's relevant videos (micro recall, over all pairs).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

METRICS = ("NDCG@10", "recall@20", "recall@100", "P@20")
RESAMPLES = 1_000


@dataclass(frozen=True)
class UserFigures:
    """Each user's figures, as a quotient.

    Attributes:
        user: of each row, ascending, each once.
        above, below: float64 [users, METRICS].
    """

    user: np.ndarray
    above: np.ndarray
    below: np.ndarray

    def mean(self) -> np.ndarray:
        """The figures over all users: float64 [METRICS]."""
        mean: np.ndarray = self.above.sum(axis=0) / self.below.sum(axis=0)
        return mean

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The figures with each user counted so many times: float64 [resamples, METRICS]."""
        means: np.ndarray = (weights @ self.above) / (weights @ self.below)
        return means


def user_figures(lists: pd.DataFrame, relevant: pd.DataFrame, *, micro_recall: bool) -> UserFigures:
    """Figures of every user with a relevant video; a user without a list has found none of them.

    Args:
        lists: user_id, video_id, rank, each video once a user; what counts is the order of the ranks.
        relevant: user_id, video_id, each pair once.

    Raises:
        ValueError: a list names a video twice.

    Source: Järvelin and Kekäläinen 2002 (NDCG, with a gain of 1 and a discount of log2(rank + 1)).
    """
    if lists.duplicated(["user_id", "video_id"]).any():
        raise ValueError("a list names a video twice")
    position = lists.groupby("user_id")["rank"].rank(method="first")
    found = relevant.merge(lists.assign(position=position), on=["user_id", "video_id"], how="left")
    user, row = np.unique(found.user_id, return_inverse=True)
    at = found.position.fillna(np.inf).to_numpy()
    relevant_count = np.bincount(row).astype(np.float64)

    def sum_of(value: np.ndarray) -> np.ndarray:
        return np.bincount(row, weights=value)

    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, 12)))])
    ndcg = (
        sum_of(np.where(at <= 10, 1 / np.log2(at + 1), 0)) / ideal[np.minimum(relevant_count, 10).astype(int)]
    )
    hits_20, hits_100 = sum_of(at <= 20), sum_of(at <= 100)
    one = np.ones(len(user))
    if micro_recall:
        above, below = [ndcg, hits_20, hits_100, hits_20 / 20], [one, relevant_count, relevant_count, one]
    else:
        above = [ndcg, hits_20 / relevant_count, hits_100 / relevant_count, hits_20 / 20]
        below = [one] * 4
    return UserFigures(user, np.column_stack(above), np.column_stack(below))


def pooled(parts: list[UserFigures]) -> UserFigures:
    """Several days as one: a user's days are drawn together."""
    user, row = np.unique(np.concatenate([part.user for part in parts]), return_inverse=True)
    above, below = (np.zeros((len(user), len(METRICS))) for _ in range(2))
    np.add.at(above, row, np.concatenate([part.above for part in parts]))
    np.add.at(below, row, np.concatenate([part.below for part in parts]))
    return UserFigures(user, above, below)


def table(
    systems: dict[str, UserFigures], ours: str, *, apart: Collection[str] = (), seed: int = 0
) -> dict[str, dict[str, dict[str, object]]]:
    """By system and metric: value and 95 % bootstrap interval over users.

    Under "difference": `ours` less the best other system of each metric, on the same resamples; those `apart`
    are no such systems.
    """
    random = np.random.default_rng(seed)
    users = len(next(iter(systems.values())).user)
    weights = random.multinomial(users, np.full(users, 1 / users), size=RESAMPLES).astype(np.float64)
    mean = {name: figures.mean() for name, figures in systems.items()}
    drawn = {name: figures.resampled(weights) for name, figures in systems.items()}
    result: dict[str, dict[str, dict[str, object]]] = {
        name: {metric: _row(mean[name][i], drawn[name][:, i]) for i, metric in enumerate(METRICS)}
        for name in systems
    }
    peers = [name for name in systems if name not in (ours, *apart)]
    if ours in systems and peers:
        result["difference"] = {}
        for i, metric in enumerate(METRICS):
            best = max(peers, key=lambda name: mean[name][i])
            row = _row(mean[ours][i] - mean[best][i], drawn[ours][:, i] - drawn[best][:, i])
            share = mean[ours][i] / mean[best][i] - 1 if mean[best][i] > 0 else None
            result["difference"][metric] = {**row, "best_peer": best, "share": share}
    return result


def _row(value: float, drawn: np.ndarray) -> dict[str, object]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}
