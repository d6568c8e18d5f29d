"""The as-of store by the ids of the log: text ids are stored as codes, which users never see.

Entity rows have the ids of the log and are returned with them; online values are stored under them too.
nightreel's own steps work on codes: `offline_store.codes`, which `feature_repo.open_store` sets.
"""

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FileSource
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field

from feast_asof import AsOfOfflineStore, AsOfRetrievalJob
from feast_asof.entities import Entities
from feast_asof.sql_entities import is_sql, run_sql
from feast_asof.times import Instants
from feature_repo.home import current_settings
from feature_repo.online_rows import OnlineRows
from nightreel.core import columns
from nightreel.core.checksums import recorded_digest
from nightreel.core.ids import Ids
from nightreel.core.newest_rows import newest_rows_file

_UNKNOWN = np.iinfo(np.int64).min


class HomeAsOfOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`offline_store:` of feature_store.yaml.

    Attributes:
        codes: whether entity rows hold codes instead of ids; only nightreel's own steps set it.
        known: the rows that the online store already has, whose newest ones are not returned again; only
            nightreel's own materialization sets it.
    """

    type: Literal["feature_repo.offline_store.HomeAsOfOfflineStore"] = (
        "feature_repo.offline_store.HomeAsOfOfflineStore"
    )
    codes: bool = False
    known: OnlineRows | None = Field(default=None, exclude=True)


class JobByIds(AsOfRetrievalJob):
    """A join by codes, whose rows have the ids instead."""

    ids: Mapping[str, Ids]

    @property
    def column_names(self) -> list[str]:
        """Like the as-of store's."""
        return list(self.take(slice(0, 0)).column_names)

    @classmethod
    def of(cls, job: AsOfRetrievalJob, ids: Mapping[str, Ids]) -> "JobByIds":
        """Wrap a join by codes."""
        made = copy.copy(job)
        made.__class__ = cls
        assert isinstance(made, cls)
        made.ids = ids
        return made

    def take(self, rows: "np.ndarray[Any, Any] | slice") -> pa.Table:
        """Like the as-of store's."""
        return _with_ids(super().take(rows), self.ids)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return _with_ids(super()._to_arrow_internal(timeout), self.ids)

    def _part(self, rows: slice) -> AsOfRetrievalJob:
        return JobByIds.of(super()._part(rows), self.ids)


class HomeAsOfOfflineStore(AsOfOfflineStore):
    """The as-of store over this home's files."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **more: Any,
    ) -> AsOfRetrievalJob:
        """Like the as-of store's; text ids are joined by their codes. An unknown id has no values."""
        ids = {} if config.offline_store.codes else text_ids()
        if ids:
            feature_views = [_by_codes(view, ids) for view in feature_views]
            if entity_df is not None:
                if is_sql(entity_df):
                    entity_df = _named(run_sql(str(entity_df), config, registry, project), ids)
                entity_df = _with_codes(Entities.of(entity_df).table, ids)
        job = AsOfOfflineStore.get_historical_features(
            config, feature_views, feature_refs, entity_df, registry, project, full_feature_names, **more
        )
        return JobByIds.of(job, ids) if ids else job

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
        """Like the as-of store's, by ids, and without the rows that the online store is known to have."""

        def pull(source: DataSource) -> RetrievalJob:
            columns_read = join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
            latest = AsOfOfflineStore.pull_latest_from_table_or_query
            return by_ids(config, latest(config, source, *columns_read, start_date, end_date))

        known = getattr(config.offline_store, "known", None)
        if known is None:
            return pull(data_source)
        job = _from_newest_rows(data_source, end_date, pull) or pull(data_source)
        return rows_as_job(config, known.new(data_source.name, join_key_columns, job.to_arrow()))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig, data_source: DataSource, *arguments: Any, **more: Any
    ) -> RetrievalJob:
        """Like the as-of store's, by ids."""
        job = AsOfOfflineStore.pull_all_from_table_or_query(config, data_source, *arguments, **more)
        return by_ids(config, job)


def text_ids() -> dict[str, Ids]:
    """The join keys whose ids are text in the current home."""
    paths = current_settings().paths
    found = {key: Ids.of(paths, key) for key in (columns.USER_ID, columns.VIDEO_ID)}
    return {key: ids for key, ids in found.items() if ids.is_text}


def by_ids(config: RepoConfig, job: RetrievalJob) -> RetrievalJob:
    """Rows of a source with ids for codes."""
    ids = {} if config.offline_store.codes else text_ids()
    table = job.to_arrow()
    if not ids.keys() & set(table.column_names):
        return job
    renamed = table.rename_columns([_code(name) if name in ids else name for name in table.column_names])
    return rows_as_job(config, _with_ids(renamed, ids))


def _from_newest_rows(
    source: DataSource, end: datetime, pull: Callable[[DataSource], RetrievalJob]
) -> RetrievalJob | None:
    """What `pull` gives for the rows that are kept of a source for nights, whose checksum has been compared.

    None if there are none that say which rows are the newest at `end`, or if the source is written meanwhile.
    """
    if not isinstance(source, FileSource):
        return None
    file = Path(source.path)
    digest, kept = recorded_digest(file), newest_rows_file(file, current_settings().paths, end)
    if kept is None:
        return None
    newest = FileSource.from_proto(source.to_proto())
    newest.file_options.uri = str(kept)
    job = pull(newest)
    return job if recorded_digest(file) == digest else None


def rows_as_job(config: RepoConfig, rows: pa.Table) -> RetrievalJob:
    """Rows of a source as Feast asks for them."""
    times = Instants(np.zeros(rows.num_rows, dtype=np.int64), "us")
    return AsOfRetrievalJob(config, Entities("rows of a source", rows, time_column=None, times=times))


def _code(key: str) -> str:
    return f"code of {key}"


def _by_codes(view: FeatureView, ids: Mapping[str, Ids]) -> FeatureView:
    """The view, joined by other columns of the entity rows."""
    made = copy.copy(view)
    made.projection = copy.copy(view.projection)
    known = view.projection.join_key_map or {}
    own = {key: known.get(key, key) for key in (column.name for column in view.entity_columns)}
    made.projection.join_key_map = {
        key: _code(column) if key in ids else column for key, column in own.items()
    }
    return made


def _with_codes(rows: pa.Table, ids: Mapping[str, Ids]) -> pa.Table:
    """Entity rows with the codes of their ids beside them; 7 is "7"."""
    for key, of_key in ids.items():
        if key not in rows.column_names:
            continue
        texts = pl.Series(rows[key].to_pandas() if rows.num_rows == 0 else rows[key]).cast(pl.String)
        known = of_key.codes_of(texts.unique().drop_nulls().to_list())
        codes = texts.replace_strict(
            list(known), list(known.values()), default=_UNKNOWN, return_dtype=pl.Int64
        )
        rows = rows.append_column(_code(key), codes.to_arrow())
    return rows


def _named(rows: pa.Table, ids: Mapping[str, Ids]) -> pa.Table:
    """Rows of an SQL query over the sources, with ids instead of their codes, which are integers."""
    are_codes = {name for name in ids.keys() & {*rows.column_names} if pa.types.is_integer(rows[name].type)}
    names = [_code(name) if name in are_codes else name for name in rows.column_names]
    return _with_ids(rows.rename_columns(names), ids)


def _with_ids(rows: pa.Table, ids: Mapping[str, Ids]) -> pa.Table:
    """Rows without the codes; if they have no ids beside them, the codes are replaced by ids."""
    for key, of_key in ids.items():
        if _code(key) not in rows.column_names:
            continue
        if key not in rows.column_names:
            codes = rows[_code(key)]
            known = codes.is_valid().to_numpy()
            texts = np.full(len(codes), None, dtype=object)
            texts[known] = of_key.outward(codes.drop_null().to_numpy())
            position = rows.schema.get_field_index(_code(key))
            rows = rows.set_column(position, key, pa.array(texts, pa.string()))
        else:
            rows = rows.drop_columns([_code(key)])
    return rows
