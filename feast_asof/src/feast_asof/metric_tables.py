"""The tables of `feast monitor run`, where and as Feast's file stores keep them: parquet in the repository.

Writers wait for each other, and a reader sees a table before or after a change, never in between.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.monitoring.monitoring_utils import (
    MONITORING_DIR,
    MONITORING_PARQUET_FILES,
    monitoring_parquet_meta,
    normalize_monitoring_row,
)
from feast.repo_config import RepoConfig

from feast_asof.errors import AsOfError
from feast_asof.files import Location
from feast_asof.writing import write_whole_file

INSTANT = pa.timestamp("us", tz="UTC")
# The types of columns that are not text. Feast lists the columns themselves.
TYPES = {
    "metric_date": pa.date32(),
    **dict.fromkeys(("computed_at", "max_event_timestamp", "started_at", "completed_at"), INSTANT),
    "is_baseline": pa.bool_(),
    **dict.fromkeys(
        (
            "row_count",
            "null_count",
            "total_row_count",
            "total_features",
            "features_with_nulls",
            "total_feature_views",
        ),
        pa.int64(),
    ),
    **dict.fromkeys(
        (
            "null_rate",
            "mean",
            "stddev",
            "min_val",
            "max_val",
            "p50",
            "p75",
            "p90",
            "p95",
            "p99",
            "avg_null_rate",
            "max_null_rate",
        ),
        pa.float64(),
    ),
}
Row = dict[str, Any]


class MetricTable:
    """A table of metrics; `kind` is Feast's type: `feature`, `feature_view`, `feature_service` or `job`."""

    def __init__(self, config: RepoConfig, kind: str) -> None:
        file, columns, self._key = monitoring_parquet_meta(kind)
        folder = Path(config.repo_path) if config.repo_path else Path()
        self._location = Location(str(folder / MONITORING_DIR / file), None)
        self._schema = pa.schema([pa.field(name, TYPES.get(name, pa.string())) for name in columns])

    def create(self) -> None:
        """Create the table if it is missing."""
        if not self._location.exists():
            self._change(lambda rows: rows)

    def upsert(self, new: Sequence[Mapping[str, Any]]) -> None:
        """Add rows; a row replaces the one with the same key."""
        prepared = [self._stored(row) for row in new]

        def added(rows: list[Row]) -> list[Row]:
            by_key: dict[tuple[Any, ...], Row] = {}
            for row in [*rows, *prepared]:
                key = tuple(row[name] for name in self._key)
                by_key.pop(key, None)
                by_key[key] = row
            return list(by_key.values())

        self._change(added)

    def query(
        self,
        project: str,
        filters: Mapping[str, Any] | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> list[Row]:
        """A project's rows (all projects' if it is empty), by date, in the form that Feast's service expects.

        Args:
            filters: column -> value; None matches any.
            start_date, end_date: both included.
        """
        needed = {name: value for name, value in (filters or {}).items() if value is not None}
        if project:
            needed["project_id"] = project
        found = [
            row
            for row in self._rows()
            if all(row[name] == value for name, value in needed.items())
            and (start_date is None or (row["metric_date"] is not None and row["metric_date"] >= start_date))
            and (end_date is None or (row["metric_date"] is not None and row["metric_date"] <= end_date))
        ]
        found.sort(key=lambda row: row["metric_date"] or date.max)
        return [normalize_monitoring_row(row) for row in found]

    def clear_baseline(self, matching: Mapping[str, str | None]) -> None:
        """Unmark the baseline rows whose columns have these values; None matches any."""
        needed = {name: value for name, value in matching.items() if value is not None}

        def cleared(rows: list[Row]) -> list[Row]:
            for row in rows:
                if all(row[name] == value for name, value in needed.items()):
                    row["is_baseline"] = False
            return rows

        if self._location.exists():
            self._change(cleared)

    def _change(self, change: Callable[[list[Row]], list[Row]]) -> None:
        Path(self._location.parent.path).mkdir(parents=True, exist_ok=True)
        with self._location.locked():
            rows = change(self._rows())
            table = pa.Table.from_pylist(rows, schema=self._schema)
            batches = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=self._schema)]
            write_whole_file(self._location, iter(batches))

    def _rows(self) -> list[Row]:
        """All rows. Those of another of Feast's file stores, whose types follow the values, are read too."""
        if not self._location.exists():
            return []
        path = self._location.path
        try:
            table = pq.read_table(path)
            missing = set(self._schema.names) - set(table.column_names)
            for name in missing:
                table = table.append_column(name, pa.nulls(table.num_rows))
            rows: list[Row] = table.select(self._schema.names).cast(self._schema).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise AsOfError(f"monitoring: {path} cannot be read: {error}; move it away.") from None
        return rows

    def _stored(self, row: Mapping[str, Any]) -> Row:
        stored = {name: row.get(name) for name in self._schema.names}
        histogram = stored.get("histogram")
        if histogram is not None and not isinstance(histogram, str):
            stored["histogram"] = json.dumps(histogram, default=_plain)
        return stored


def every_table(config: RepoConfig) -> list[MetricTable]:
    """All tables, whether or not they exist."""
    return [MetricTable(config, kind) for kind in MONITORING_PARQUET_FILES]


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
