"""One column's distribution in the training window, and how far another sample of it has moved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_BINS = 10
# Rarer categories share one bin.
_CATEGORY_SHARE = 0.02
# An empty bin counts as this share of a sample, or it would make the index infinite.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Distribution:
    """Shares of a sample in bins.

    Attributes:
        edges: for a numeric column, the upper bounds of all bins but the last, ascending; else None.
        codes: for a categorical column, the codes with their own bin, ascending, all others being in the last
            bin; else None.
        shares: of the known values, one per bin.
        missing: share of missing values.
        units: number of independent observations, such as distinct users, which decides the effect of chance.
    """

    edges: tuple[float, ...] | None
    codes: tuple[int, ...] | None
    shares: tuple[float, ...]
    missing: float
    units: int

    @classmethod
    def of(cls, values: np.ndarray, *, is_categorical: bool, units: int) -> "Distribution":
        """Bins with about a tenth of the known values each, or a bin for each common category.

        Args:
            values: float [rows], NaN if missing; for a categorical column its codes, from 0.
            units: number of independent observations.
        """
        known = values[~np.isnan(values)]
        if is_categorical:
            counts = np.bincount(known.astype(np.int64))
            common = np.flatnonzero(counts >= _CATEGORY_SHARE * max(len(known), 1))
            return cls._counted(values, None, tuple(common.tolist()), units)
        quantiles = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(known) else np.zeros(0)
        return cls._counted(values, tuple(np.unique(quantiles).tolist()), None, units)

    def same_bins(self, values: np.ndarray, *, units: int) -> "Distribution":
        """The distribution of another sample of the column over the same bins."""
        return self._counted(values, self.edges, self.codes, units)

    @classmethod
    def _counted(
        cls,
        values: np.ndarray,
        edges: tuple[float, ...] | None,
        codes: tuple[int, ...] | None,
        units: int,
    ) -> "Distribution":
        known = values[~np.isnan(values)]
        if codes is not None:
            bins = np.full(len(known), len(codes))
            for position, code in enumerate(codes):
                bins[known == code] = position
            counts = np.bincount(bins, minlength=len(codes) + 1)
        else:
            # A value on an edge belongs to the bin below it: the most common value of a column has its own.
            bounds = np.array(edges)
            counts = np.bincount(np.searchsorted(bounds, known, side="left"), minlength=len(bounds) + 1)
        shares = counts / max(len(known), 1)
        missing = 1 - len(known) / len(values) if len(values) else 0.0
        return cls(edges, codes, tuple(shares.tolist()), float(missing), units)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form, for `from_json`."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Distribution":
        """The inverse of `to_json`."""
        edges, codes = content["edges"], content["codes"]
        return cls(
            edges=None if edges is None else tuple(edges),
            codes=None if codes is None else tuple(codes),
            shares=tuple(content["shares"]),
            missing=content["missing"],
            units=content["units"],
        )


def population_stability_index(before: Distribution, after: Distribution) -> float:
    """How far `after` has moved from `before`, over the same bins: >= 0. Missing values are one more bin.

    The sum over bins of (q - p) ln(q / p), with p and q a bin's share before and after, minus the mean that
    chance alone gives two samples of one distribution, (bins - 1)(1/n + 1/m). Usual reading: below 0.1
    stable, above
    0.25
    changed.

    Source: Yurdakul, Statistical Properties of Population Stability Index (Western Michigan University,
    2018), which shows that the index of such samples is chi-square distributed with that mean.
    """
    p, q = _with_missing(before), _with_missing(after)
    index = float(np.sum((q - p) * np.log(q / p)))
    used = int(np.count_nonzero((p > _LEAST_SHARE) | (q > _LEAST_SHARE)))
    by_chance = (used - 1) * (1 / max(before.units, 1) + 1 / max(after.units, 1))
    return max(0.0, index - by_chance)


def _with_missing(sample: Distribution) -> np.ndarray:
    shares = np.append(np.array(sample.shares) * (1 - sample.missing), sample.missing)
    at_least: np.ndarray = np.maximum(shares, _LEAST_SHARE)
    return at_least
