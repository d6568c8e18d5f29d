"""Quality of a source's columns, as `feast monitor run` stores it: nulls, moments, percentiles, histograms.

The figures are those of Feast's DuckDB store. Feast's dask store is followed in two cases: for a column of
nulls, for which DuckDB's says only that it has no rows, and for a missing column, on which it fails.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.monitoring.monitoring_utils import empty_categorical_metric, empty_numeric_metric, opt_float
from numpy.typing import NDArray

from feast_asof.errors import AsOfError
from feast_asof.sources import ParquetSource
from feast_asof.times import one_chunk, read_instants

LOG = logging.getLogger(__name__)
PERCENTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}
NUMERIC = "numeric"


def measure(
    source: ParquetSource,
    columns: Sequence[tuple[str, str]],
    timestamp_field: str,
    ends: tuple[datetime | None, datetime | None],
    *,
    histogram_bins: int,
    top_n: int,
) -> list[dict[str, Any]]:
    """One metric per column, over the rows between two instants.

    Args:
        columns: name and kind, `numeric` or `categorical`. A column that the source lacks, or whose values
            are not scalars, is left out with a warning.
        ends: first and last instant, both included; None for an open end.
    """
    there = [pair for pair in columns if _can_be_measured(source, *pair)]
    table = source.read([timestamp_field, *(name for name, _ in there)])
    if ends != (None, None):
        what = f"{source.what}, column '{timestamp_field}' of {source.path}"
        times = read_instants(table[timestamp_field], what=what, nulls_allowed=True)
        table = table.filter(pa.array(times.between(*ends)))
    metrics = []
    for name, kind in there:
        column = one_chunk(table[name])
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if kind == NUMERIC:
            what = f"{source.what}, column '{name}' of {source.path}"
            metric = numeric_metric(name, _numbers(column, what=what), len(column), histogram_bins)
        else:
            metric = categorical_metric(name, column, top_n)
        metrics.append(metric)
    return metrics


def numeric_metric(name: str, numbers: NDArray[np.float64], rows: int, bins: int) -> dict[str, Any]:
    """The metric of a column of numbers.

    NaN counts as a number above all others; figures that are not finite are None.

    Args:
        numbers: without nulls.
        rows: number of rows, nulls included.
    """
    metric: dict[str, Any] = {**empty_numeric_metric(name), **_nulls(rows, rows - len(numbers))}
    if len(numbers) == 0:
        return metric
    with np.errstate(invalid="ignore", over="ignore"):
        ordered = np.sort(numbers)
        metric["mean"] = opt_float(numbers.mean())
        metric["stddev"] = opt_float(numbers.std(ddof=1)) if len(numbers) > 1 else None
        metric["min_val"], metric["max_val"] = opt_float(ordered[0]), opt_float(ordered[-1])
        for key, share in PERCENTILES.items():
            metric[key] = opt_float(_percentile(ordered, share))
    if metric["min_val"] is not None and metric["max_val"] is not None:
        metric["histogram"] = _histogram(numbers, metric["min_val"], metric["max_val"], bins)
    return metric


def categorical_metric(name: str, column: pa.Array, top_n: int) -> dict[str, Any]:
    """The metric of a categorical column: its most frequent values, ties in order of their first row."""
    metric: dict[str, Any] = {**empty_categorical_metric(name), **_nulls(len(column), column.null_count)}
    valid = column.drop_null()
    if len(valid) == 0:
        return metric
    found = pc.value_counts(valid)
    counts = found.field("counts").to_numpy(zero_copy_only=False)
    top = np.argsort(-counts, kind="stable")[:top_n]
    values = found.field("values").take(pa.array(top)).to_pylist()
    metric["histogram"] = {
        "values": [
            {"value": value, "count": int(count)} for value, count in zip(values, counts[top], strict=True)
        ],
        "other_count": int(counts.sum() - counts[top].sum()),
        "unique_count": len(counts),
    }
    return metric


def _can_be_measured(source: ParquetSource, name: str, kind: str) -> bool:
    original = source.name_of(name)
    if original not in source.dataset.schema.names:
        LOG.warning("%s: column '%s' is not in %s; it is not measured.", source.what, original, source.path)
        return False
    of = source.type_of(name)
    if pa.types.is_nested(of):
        LOG.warning(
            "%s: column '%s' of %s is %s, no %s value a row; it is not measured.",
            source.what,
            original,
            source.path,
            of,
            kind,
        )
        return False
    return True


def _numbers(column: pa.Array, *, what: str) -> NDArray[np.float64]:
    """The column's values as floats, without nulls. Raises AsOfError if they are not numbers."""
    try:
        floats = pc.cast(column.drop_null(), pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise AsOfError(f"{what}: declared as numeric, and has none: {error}") from None
    return np.asarray(floats.to_numpy(zero_copy_only=False), dtype=np.float64)


def _nulls(rows: int, nulls: int) -> dict[str, Any]:
    return {"row_count": rows, "null_count": nulls, "null_rate": nulls / rows if rows else 0.0}


def _percentile(ordered: NDArray[np.float64], share: float) -> float:
    """SQL's PERCENTILE_CONT: between the two nearest values, in proportion."""
    at = share * (len(ordered) - 1)
    below, above = ordered[int(np.floor(at))], ordered[int(np.ceil(at))]
    return float(below if below == above else below + (above - below) * (at - np.floor(at)))


def _histogram(numbers: NDArray[np.float64], low: float, high: float, bins: int) -> dict[str, Any] | None:
    """Counts of equally wide bins from `low` to `high`, the last one closed; one bin where all are equal."""
    width = (high - low) / bins
    if not np.isfinite(width):
        return None
    if width == 0:
        return {"bins": [low, high], "counts": [len(numbers)], "bin_width": 0.0}
    positions = np.minimum(((numbers - low) / width).astype(np.int64), bins - 1)
    return {
        "bins": [low + step * width for step in range(bins + 1)],
        "counts": np.bincount(positions, minlength=bins).tolist(),
        "bin_width": width,
    }
