"""Area under the ROC curve, of all pairs together and of each user's alone.

AUC is the chance that a relevant pair scores above one that is not, ties counting half: the Mann-Whitney
statistic. Sources: Hanley and McNeil (Radiology 1982); grouped AUC: Zhu et al., Optimized Cost per Click
(KDD 2017).
"""

import numpy as np


def grouped_auc(
    user_id: np.ndarray, score: np.ndarray, relevant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each user's own AUC: (user_id int64 [users], AUC float64 [users]).

    All arrays have one entry a pair, in any order. NaN scores count as the lowest, tied. Users without a
    relevant pair, or with no other, have no AUC and are left out.
    """
    users, group = np.unique(user_id, return_inverse=True)
    lowest_for_missing = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((lowest_for_missing, group))
    group, values, hits = group[order], lowest_for_missing[order], relevant.astype(bool)[order]
    sizes = np.bincount(group, minlength=len(users))
    before = np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = np.arange(1, len(order) + 1) - before
    new_run = np.append(True, (values[1:] != values[:-1]) | (group[1:] != group[:-1]))[: len(order)]
    run = np.cumsum(new_run) - 1
    average_places = np.bincount(run, weights=places) / np.maximum(np.bincount(run), 1)
    positives = np.bincount(group, weights=hits, minlength=len(users))
    negatives = sizes - positives
    place_sums = np.bincount(group, weights=np.where(hits, average_places[run], 0.0), minlength=len(users))
    both = (positives > 0) & (negatives > 0)
    won = place_sums[both] - positives[both] * (positives[both] + 1) / 2
    return users[both], won / (positives[both] * negatives[both])


def auc(score: np.ndarray, relevant: np.ndarray) -> float | None:
    """The AUC of all pairs together; None where all are relevant or none is."""
    _, values = grouped_auc(np.zeros(len(score), dtype=np.int64), score, relevant)
    return float(values[0]) if len(values) else None
