"""The offline store that Feast calls: a thin adapter around the as-of index."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feast_asof.errors import AsOfError
from feast_asof.index import Int64Array, build_index
from feast_asof.retrieval_job import AsOfRetrievalJob, JoinedView
from feast_asof.sources import microseconds, one_chunk, open_parquet, read_columns

EARLIEST_US = int(np.iinfo(np.int64).min)


class AsOfOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`offline_store:` of `feature_store.yaml`; there is nothing to set but the type."""

    type: Literal["feast_asof.AsOfOfflineStore"] = "feast_asof.AsOfOfflineStore"


class AsOfOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins over parquet by binary search, on one machine."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | Path,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> AsOfRetrievalJob:
        """Join each entity row with the newest values known at its time; see `AsOfRetrievalJob`.

        entity_df: a pandas frame, an Arrow table, or a path to parquet (file, folder or glob).
        Raises AsOfError for input that cannot be joined.
        """
        entities = _entity_table(entity_df)
        time_column = _time_column(entities)
        times = microseconds(entities[time_column], what=f"entity dataframe, column '{time_column}'")
        views = [
            _joined_view(
                config,
                view,
                feature_refs,
                entities,
                full_feature_names,
                filter_by_created=bool(options.get("filter_by_created_timestamp")),
            )
            for view in feature_views
        ]
        return AsOfRetrievalJob(
            entities,
            times,
            views,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entities.column_names if name != time_column],
                min_event_timestamp=_instant(times.min()) if len(times) else None,
                max_event_timestamp=_instant(times.max()) if len(times) else None,
            ),
            repo_path=config.repo_path,
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
        columns = [*join_key_columns, *feature_name_columns, timestamp_field]
        columns += [created_timestamp_column] if created_timestamp_column else []
        table = _between(_read_source(config, data_source, columns), timestamp_field, start_date, end_date)
        what = f"source {data_source.name}"
        index = build_index(
            [one_chunk(table[key]) for key in join_key_columns],
            microseconds(table[timestamp_field], what=f"{what}, column '{timestamp_field}'"),
            _created(table, created_timestamp_column, what),
        )
        code = index.packed // index.stride
        ends = np.append(code[1:] != code[:-1], True)[: len(code)]
        last = np.flatnonzero(ends & (index.packed >= 0))
        rows = last if index.order is None else index.order[last]
        return _plain_job(table.take(pa.array(rows, pa.int64())), config)

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
        """Every row between two instants, both included; an end that is not given is open."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field]
        columns += [created_timestamp_column] if created_timestamp_column else []
        table = _read_source(config, data_source, columns)
        return _plain_job(_between(table, timestamp_field, start_date, end_date), config)


def _plain_job(table: pa.Table, config: RepoConfig) -> AsOfRetrievalJob:
    return AsOfRetrievalJob(table, np.zeros(table.num_rows, dtype=np.int64), [], repo_path=config.repo_path)


def _entity_table(entity_df: pd.DataFrame | pa.Table | str | Path) -> pa.Table:
    if isinstance(entity_df, pa.Table):
        return entity_df
    if isinstance(entity_df, pd.DataFrame):
        return pa.Table.from_pandas(entity_df, preserve_index=False).replace_schema_metadata(None)
    if isinstance(entity_df, str | Path):
        return open_parquet(str(entity_df), what="entity dataframe").to_table()
    raise AsOfError(
        f"entity dataframe: is a {type(entity_df).__name__}; give a pandas or Arrow table, or a path."
    )


def _time_column(entities: pa.Table) -> str:
    types = {name: entities.schema.field(name).type.to_pandas_dtype() for name in entities.column_names}
    dtypes = {
        name: np.dtype("datetime64[us]") if pa.types.is_timestamp(entities.schema.field(name).type) else kind
        for name, kind in types.items()
    }
    return str(infer_event_timestamp_from_entity_df(dtypes))


def _joined_view(
    config: RepoConfig,
    view: FeatureView,
    feature_refs: Sequence[str],
    entities: pa.Table,
    full_feature_names: bool,
    *,
    filter_by_created: bool,
) -> JoinedView:
    name = view.projection.name_to_use()
    what = f"feature view {name}"
    source = view.batch_source
    wanted = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{name}:")]
    key_map = view.projection.join_key_map or {entity.name: entity.name for entity in view.entity_columns}
    key_map = {key: column for key, column in key_map.items() if key != DUMMY_ENTITY_ID}
    for column in key_map.values():
        if column not in entities.column_names:
            raise AsOfError(f"{what}: the entity dataframe has no key column '{column}'.")
    columns = [*key_map, *wanted, source.timestamp_field]
    columns += [source.created_timestamp_column] if source.created_timestamp_column else []
    table = _read_source(config, source, columns, what=what)
    keys = [one_chunk(table[key]) for key in key_map]
    index = build_index(
        keys,
        microseconds(table[source.timestamp_field], what=f"{what}, column '{source.timestamp_field}'"),
        _created(table, source.created_timestamp_column, what),
        filter_by_created=filter_by_created,
    )
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    features = pa.table({f"{prefix}{feature}": table[feature] for feature in wanted})
    return JoinedView(
        name=name, index=index, features=features, keys=list(key_map.values()), ttl=view.ttl or timedelta()
    )


def _read_source(
    config: RepoConfig, source: DataSource, columns: Sequence[str], what: str | None = None
) -> pa.Table:
    """These columns of the source, under their mapped names, each in one chunk."""
    what = what or f"source {source.name}"
    if not isinstance(source, FileSource):
        raise AsOfError(f"{what}: its source is a {type(source).__name__}, not a FileSource of parquet.")
    path = FileSource.get_uri_for_file_path(config.repo_path, source.file_options.uri)
    dataset = open_parquet(path, what=what, endpoint=source.file_options.s3_endpoint_override)
    original = {new: old for old, new in source.field_mapping.items() if old in dataset.schema.names}
    read = read_columns(dataset, [original.get(column, column) for column in columns], what=what, path=path)
    return pa.table({column: read[original.get(column, column)] for column in columns})


def _created(table: pa.Table, column: str | None, what: str) -> Int64Array | None:
    if not column:
        return None
    return microseconds(table[column], what=f"{what}, column '{column}'", nulls=EARLIEST_US)


def _between(table: pa.Table, column: str, start: datetime | None, end: datetime | None) -> pa.Table:
    times = microseconds(table[column], what=f"column '{column}'")
    keep = np.ones(len(times), dtype=bool)
    if start is not None:
        keep &= times >= _microsecond(start)
    if end is not None:
        keep &= times <= _microsecond(end)
    return table.filter(pa.array(keep))


def _microsecond(instant: datetime) -> int:
    return int(pd.Timestamp(instant.astimezone()).value // 1000)


def _instant(microsecond: int) -> datetime:
    instant: datetime = pd.Timestamp(int(microsecond), unit="us", tz="UTC").to_pydatetime()
    return instant
