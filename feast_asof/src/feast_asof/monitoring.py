"""The methods that Feast's monitoring calls on a store: for `feast monitor run` and REST endpoints."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from feast.data_source import DataSource
from feast.repo_config import RepoConfig

from feast_asof.entities import instant
from feast_asof.errors import SourceMissingError
from feast_asof.feature_metrics import measure
from feast_asof.metric_tables import MetricTable, every_table
from feast_asof.sources import open_source


class MonitoredStore:
    """The monitoring methods of Feast's `OfflineStore`, for parquet sources and parquet tables of metrics."""

    @staticmethod
    def compute_monitoring_metrics(
        config: RepoConfig,
        data_source: DataSource,
        feature_columns: Sequence[tuple[str, str]],
        timestamp_field: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        histogram_bins: int = 20,
        top_n: int = 10,
    ) -> list[dict[str, Any]]:
        """One metric per column of a source, over its rows between two instants, both included."""
        return measure(
            open_source(config, data_source, what=f"source {data_source.name}"),
            feature_columns,
            timestamp_field,
            (start_date, end_date),
            histogram_bins=histogram_bins,
            top_n=top_n,
        )

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """The newest event timestamp of a source; None if it has no rows or does not exist yet."""
        try:
            source = open_source(config, data_source, what=f"source {data_source.name}")
        except SourceMissingError:
            return None
        times = source.instants(source.read([timestamp_field]), timestamp_field)
        # Not before the newest row, which a window that ends there has to hold.
        values = times.ceil("us")[~times.missing]
        return instant(values.max()) if len(values) else None

    @staticmethod
    def ensure_monitoring_tables(config: RepoConfig) -> None:
        """Create the missing tables of metrics in the repository's `feast_monitoring`."""
        for table in every_table(config):
            table.create()

    @staticmethod
    def save_monitoring_metrics(config: RepoConfig, metric_type: str, metrics: list[dict[str, Any]]) -> None:
        """Store metrics; one with the same feature, date and granularity replaces the earlier one."""
        if metrics:
            MetricTable(config, metric_type).upsert(metrics)

    @staticmethod
    def query_monitoring_metrics(
        config: RepoConfig,
        project: str,
        metric_type: str,
        filters: dict[str, Any] | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> list[dict[str, Any]]:
        """Stored metrics, by date."""
        return MetricTable(config, metric_type).query(project, filters, start_date, end_date)

    @staticmethod
    def clear_monitoring_baseline(
        config: RepoConfig,
        project: str,
        feature_view_name: str | None = None,
        feature_name: str | None = None,
        data_source_type: str | None = None,
    ) -> None:
        """Unmark the baseline metrics of these features."""
        MetricTable(config, "feature").clear_baseline(
            {
                "project_id": project,
                "feature_view_name": feature_view_name,
                "feature_name": feature_name,
                "data_source_type": data_source_type,
            }
        )
