"""Tries candidate sources: are past nights ranked better with them than without them?

A source adds candidates and two features of the rankers, which are noise if it adds little to the other
sources. So rankers are fitted with and without it on the same users, and their lists are compared for
the validation users, whom neither has seen. Measured in docs/decisions/sequence.md.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from nightreel.core.logs import get_logger
from pipelines.metrics import RankedLists, ndcg_at_k
from pipelines.rankers.next_day_training import MEASURED_AT, tried_order
from pipelines.rankers.past_nights import NightRows

# Standard errors of the mean gain, and lists, that are needed: less may be chance.
_STANDARD_ERRORS, _LISTS_MIN = 2.0, 20

_log = get_logger(__name__)


@dataclass(frozen=True)
class SourceTrial:
    """The gain from the sources on trial.

    Attributes:
        examples: how many lists were compared.
        gain, error: the mean difference of NDCG at 10 and 100, with the sources minus without, and its
            standard error.
    """

    sources: tuple[str, ...]
    examples: int
    gain: float
    error: float

    @property
    def is_passed(self) -> bool:
        """Whether the gain is more than chance; False where too little could be compared."""
        return self.examples >= _LISTS_MIN and self.gain > _STANDARD_ERRORS * self.error

    def facts(self) -> dict[str, Any]:
        """As in the manifest."""
        return {
            "sources": list(self.sources),
            "lists": self.examples,
            "gain": self.gain,
            "standard_error": self.error,
            "is_used": self.is_passed,
        }


def after_trial(
    rows: NightRows, judged_before: datetime, seed: int, threads: int
) -> tuple[NightRows, SourceTrial | None]:
    """The rows to train on: those with the sources on trial if these help, else those without.

    Args:
        judged_before: only examples that ended by this instant decide, if there are any.

    Returns:
        The rows, and the trial; None where the settings name no such source.
    """
    if rows.untried is None:
        return rows, None
    past = rows.before(judged_before) or rows
    if past.untried is None:  # without these sources no candidate was liked
        return replace(rows, untried=None), None
    trial = _trial(past, past.untried, seed, threads)
    facts = trial.facts()
    if trial.is_passed:
        _log.info("past nights are ranked better with this source", **facts)
        return replace(rows, untried=None), trial
    _log.warning("past nights are not ranked better with this source, so the rankers do without it", **facts)
    return rows.untried, trial


def _trial(rows: NightRows, untried: NightRows, seed: int, threads: int) -> SourceTrial:
    every, without = (tried_order(one, seed, threads).scores for one in (rows, untried))
    if every is None or without is None:
        return SourceTrial(untried.left_out, 0, 0.0, 0.0)
    gain = _ndcg(rows, every, rows) - _ndcg(untried, without, rows)
    error = gain.std() / np.sqrt(len(gain))
    return SourceTrial(untried.left_out, len(gain), float(gain.mean()), float(error))


def _ndcg(rows: NightRows, scores: np.ndarray, every: NightRows) -> np.ndarray:
    """The NDCG of each validation example, of all that was liked among the candidates of either.

    Args:
        scores: float64 [validation rows].
        every: the rows with all candidates.
    """
    liked = every.group[every.is_validation & every.liked]
    users = np.unique(liked)
    group = rows.group[rows.is_validation]
    order = np.lexsort((-scores, group))
    rank = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    is_hit = rows.liked[rows.is_validation][order] & (rank < max(MEASURED_AT))
    hits = np.searchsorted(users, group[order][is_hit]), rank[is_hit], np.ones(int(is_hit.sum()))
    relevant = np.searchsorted(users, liked), np.ones(len(liked))
    lists = RankedLists.of_hits(users, relevant, hits, max(MEASURED_AT))
    found: np.ndarray = np.mean([ndcg_at_k(lists, k) for k in MEASURED_AT], axis=0)
    return found
