"""The offline store that Feast calls: a thin adapter around the as-of index."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feast_asof.entities import EVENT_TIMESTAMP, Entities
from feast_asof.errors import AsOfError
from feast_asof.events import events_of_range
from feast_asof.retrieval_job import AsOfRetrievalJob
from feast_asof.shared import SharedSources
from feast_asof.source_rows import newest_rows, rows_between
from feast_asof.sources import ParquetSource, open_source
from feast_asof.sql_entities import is_sql, run_sql
from feast_asof.times import Instants
from feast_asof.views import check_entities, join_view
from feast_asof.writing import append_logged_features, append_to_source

if find_spec("feast.monitoring"):
    from feast_asof.monitoring import MonitoredStore
else:

    class MonitoredStore:  # type: ignore[no-redef]
        """Feast before 0.64 has no monitoring."""


LOG = logging.getLogger(__name__)


class AsOfOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`offline_store:` of `feature_store.yaml`; there are no options beside the type."""

    type: Literal["feast_asof.AsOfOfflineStore"] = "feast_asof.AsOfOfflineStore"


class AsOfOfflineStore(MonitoredStore, OfflineStore):  # type: ignore[misc]
    """Point-in-time joins over parquet by binary search, on one machine."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        *,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> AsOfRetrievalJob:
        """Join each entity row with the newest values known at its time.

        Sources, and an entity dataframe at a path, are opened and checked here, and read when the job is
        asked for rows.

        Args:
            entity_df: pandas, Polars or Arrow; a path to parquet (file, folder or glob); SQL, which DuckDB
                runs
                over the sources; or None for every event of the views from start_date to end_date.
            full_feature_names: name features view__feature.
            filter_by_created_timestamp: use only rows created by the entity row's time.

        Returns:
            A job with one row per entity row.

        Raises:
            AsOfError: the input cannot be joined.
        """
        sources = SharedSources(config)
        views = [
            join_view(
                sources,
                view,
                feature_refs,
                full_feature_names=full_feature_names,
                filter_by_created=filter_by_created_timestamp,
            )
            for view in feature_views
        ]
        if entity_df is None:
            events = events_of_range(feature_views, views, start_date, end_date)
            entities = Entities("events of the views", events, time_column=EVENT_TIMESTAMP)
        else:
            if is_sql(entity_df):
                entity_df = run_sql(str(entity_df), config, registry, project)
            entities = Entities.of(entity_df).typed_as(views)
        check_entities(entities.schema, views)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        _check_request_columns(entities.schema.names, on_demand)
        return AsOfRetrievalJob(
            config,
            entities,
            views,
            on_demand=on_demand,
            full_feature_names=full_feature_names,
            feature_refs=feature_refs,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key between two instants, both included: what materialization stores."""
        newest = newest_rows(
            _own_names(config, data_source),
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            (start_date, end_date),
        )
        return _plain_job(config, newest if join_key_columns else _with_dummy_key(newest))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row between two instants, both included; None for an open end.

        Rows with a null key are left out with a warning, as no online store can hold them. Without key
        columns, rows are
        in order of time, because the online store keeps the last one.

        Args:
            feature_name_columns: by default every column.
        """
        table = rows_between(
            _own_names(config, data_source),
            join_key_columns,
            feature_name_columns or None,
            timestamp_field,
            created_timestamp_column,
            (start_date, end_date),
        )
        if not join_key_columns:
            by = [(name, "ascending") for name in (timestamp_field, created_timestamp_column) if name]
            order = pc.sort_indices(table, sort_keys=by, null_placement="at_start")
            table = _with_dummy_key(table.take(order).combine_chunks())
        return _plain_job(config, table)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to the view's parquet source."""
        append_to_source(config, feature_view, table)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Append logged features to their destination folder."""
        append_logged_features(data, logging_config, config)


def _plain_job(config: RepoConfig, table: pa.Table) -> AsOfRetrievalJob:
    times = Instants(np.zeros(table.num_rows, dtype=np.int64), "us")
    return AsOfRetrievalJob(config, Entities("rows of a source", table, time_column=None, times=times))


def _with_dummy_key(table: pa.Table) -> pa.Table:
    """With the key under which Feast stores, and asks for, the values of a view without entities."""
    return table.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string()))


def _own_names(config: RepoConfig, data_source: DataSource) -> ParquetSource:
    """A source whose columns have the file's own names, which Feast asks for here, and not mapped ones."""
    return replace(open_source(config, data_source, what=f"source {data_source.name}"), original={})


def _check_request_columns(columns: list[str], on_demand: list[OnDemandFeatureView]) -> None:
    for view in on_demand:
        for name in view.get_request_data_schema():
            if name not in columns:
                raise AsOfError(
                    f"on-demand feature view {view.name}: request column '{name}' is not in the entity "
                    f"dataframe, which has {', '.join(columns)}."
                )
