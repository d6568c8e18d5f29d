"""The features that move a pair's scores most, by LightGBM's own contributions (TreeSHAP)."""

import math
from collections.abc import Mapping

import numpy as np

from scoring.explain.explanation import Contribution
from scoring.lists.trace import Trace

_STRONGEST = 8  # of each model


def strongest(
    trace: Trace, video: int, categories: Mapping[str, tuple[int | str, ...]]
) -> tuple[Contribution, ...]:
    """The features with the largest contributions in each model that filters or orders; none without a row.

    Args:
        categories: feature name -> its values in the order of their codes.
    """
    row = trace.features(video)
    if row is None:
        return ()
    found = []
    for model, booster in trace.models.items():
        # The last one is the model's expected score, without any feature.
        of_model = booster.predict(row[None, :], pred_contrib=True)[0][:-1]
        for at in np.argsort(-np.abs(of_model), kind="stable")[:_STRONGEST].tolist():
            if of_model[at]:
                value = _value(float(row[at]), categories.get(trace.names[at]))
                found.append(Contribution(model, trace.names[at], value, float(of_model[at])))
    return tuple(found)


def _value(encoded: float, categories: tuple[int | str, ...] | None) -> float | int | str | None:
    if math.isnan(encoded):
        return None
    return encoded if categories is None else categories[int(encoded)]
