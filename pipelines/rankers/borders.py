"""The borders at which trees' splits on a number change, and the interval of each value between them."""

from dataclasses import dataclass

import numpy as np

from pipelines.rankers.tree_loops import cells, interval_numbers

# The number of cells into which the range of the borders is cut; there are some hundreds of borders.
_CELLS = 2_048


@dataclass(frozen=True)
class Borders:
    """Ascending borders.

    Attributes:
        values: float64.
        before: int64 [cells], how many borders are in the cells before each.
        low, scale: where the first cell begins, and cells per unit.
    """

    values: np.ndarray
    before: np.ndarray
    low: float
    scale: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Borders":
        """The borders at these values.

        Args:
            values: float64, ascending.
        """
        finite = values[np.isfinite(values)]
        low, width = (float(finite[0]), float(finite[-1]) - float(finite[0])) if len(finite) else (0.0, 0.0)
        # Any scale gives right results; others are slower.
        scale = _CELLS / width if 0 < width < np.inf else 1.0
        own = np.empty(len(values), dtype=np.int64)
        cells(values, low, scale, _CELLS, own)
        return cls(values, np.searchsorted(own, np.arange(_CELLS)), low, scale)

    def __len__(self) -> int:
        return len(self.values)

    def intervals(self, values: np.ndarray, out: np.ndarray) -> None:
        """How many borders are below each value, and for NaN one more than there are borders.

        Args:
            values: float32.
            out: uint32, of the same shape, filled in place.
        """
        flat = np.ascontiguousarray(values).ravel()
        interval_numbers(self.values, self.before, self.low, self.scale, flat, out.reshape(-1))
