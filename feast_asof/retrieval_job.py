"""The lazy result of a point-in-time join: whole, in batches, or any rows of it, at random."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from feast_asof.index import LOOKUP_ROWS, AsOfIndex, Int32Array, Int64Array
from feast_asof.sources import one_chunk

BATCH_ROWS = 262_144


@dataclass
class JoinedView:
    """One feature view's part of the join: its index, its columns, and where each entity row finds its value.

    name: as in feature references. columns: result name -> source column, in result order.
    keys: the entity table's column of each key. ttl: zero means for ever.
    """

    name: str
    index: AsOfIndex
    features: pa.Table
    keys: Sequence[str]
    ttl: timedelta
    _positions: Int32Array | None = field(default=None, repr=False)

    def positions(self, entities: pa.Table, times: Int64Array) -> Int32Array:
        """Row of `features` for each entity row, int32; -1 where no value was known. Kept once computed."""
        if self._positions is None:
            ttl_us = self.ttl // timedelta(microseconds=1)
            found = np.empty(len(times), dtype=np.int32)
            for start in range(0, len(times), LOOKUP_ROWS):
                rows = slice(start, start + LOOKUP_ROWS)
                keys = [one_chunk(entities[key].slice(start, LOOKUP_ROWS)) for key in self.keys]
                found[rows] = self.index.lookup(keys, times[rows], ttl_us)
            self._positions = found
        return self._positions


class AsOfRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """The join of an entity table with views, computed when it is asked for.

    Rows out are the rows in, in the caller's order, duplicates and extra columns included.
    """

    def __init__(
        self,
        entities: pa.Table,
        times: Int64Array,
        views: Sequence[JoinedView],
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
        repo_path: Path | None = None,
    ) -> None:
        self._entities = entities
        self._times = times
        self._views = {view.name: view for view in views}
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._metadata = metadata
        self._repo_path = repo_path

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named view__feature."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """On-demand views that Feast applies to the joined columns."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys and time range of the request."""
        return self._metadata

    @property
    def num_rows(self) -> int:
        """Rows of the result: those of the entity dataframe."""
        return int(self._entities.num_rows)

    @property
    def column_names(self) -> list[str]:
        """Columns of `take`: the entity dataframe's, then each view's; on-demand ones are not there."""
        joined = [name for view in self._views.values() for name in view.features.column_names]
        return [*self._entities.column_names, *joined]

    def positions(self, view_name: str) -> Int32Array:
        """Row of the view's source columns for each entity row, int32 [rows]; -1 where no value was known."""
        return self._views[view_name].positions(self._entities, self._times)

    def source_column(self, view_name: str, feature: str) -> pa.Array:
        """A view's whole feature column, to be gathered by `positions`."""
        return one_chunk(self._views[view_name].features[feature])

    def take(self, rows: "np.ndarray[Any, Any] | slice") -> pa.Table:
        """The joined columns of these entity rows, in this order; on-demand features are left out.

        rows: int indices or a slice into the entity dataframe.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.num_rows)
            if step != 1:
                return self.take(np.arange(start, stop, step))
            taken = self._entities.slice(start, max(stop - start, 0))
        else:
            taken = self._entities.take(pa.array(np.asarray(rows, dtype=np.int64)))
        for view in self._views.values():
            positions = view.positions(self._entities, self._times)[rows]
            indices = pa.array(positions, mask=positions < 0)
            for name in view.features.column_names:
                column = one_chunk(view.features[name]).take(indices)
                taken = taken.append_column(name, column)
        return taken

    def to_arrow_batches(self, max_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The whole result, on-demand features included, at most `max_rows` rows at a time."""
        for start in range(0, self.num_rows, max_rows):
            yield from self._finished(slice(start, start + max_rows)).combine_chunks().to_batches()

    def to_parquet(self, path: str | Path, *, max_rows: int = BATCH_ROWS, **options: Any) -> int:
        """Write the result to one parquet file batch by batch; the wide table never exists at once.

        options: those of pyarrow.parquet.ParquetWriter. Returns the rows written.
        """
        with pq.ParquetWriter(str(path), self._finished(slice(0, 0)).schema, **options) as writer:
            for batch in self.to_arrow_batches(max_rows):
                writer.write_batch(batch)
        return self.num_rows

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result where a saved dataset lies; refuses an existing place unless told otherwise."""
        assert isinstance(storage, SavedDatasetFileStorage)
        path = FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri)
        if Path(path).exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=storage.file_options.uri)
        self.to_parquet(path)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.take(slice(None))

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self.take(slice(None)).to_pandas()
        return frame

    def _finished(self, rows: slice) -> pa.Table:
        """These rows with the on-demand features that Feast adds in `to_arrow`."""
        part = AsOfRetrievalJob(
            self._entities.slice(*_offset_and_length(rows, self.num_rows)),
            self._times[rows],
            [
                JoinedView(
                    name=view.name,
                    index=view.index,
                    features=view.features,
                    keys=view.keys,
                    ttl=view.ttl,
                    _positions=view.positions(self._entities, self._times)[rows],
                )
                for view in self._views.values()
            ],
            on_demand=self._on_demand,
            full_feature_names=self._full_feature_names,
            metadata=self._metadata,
            repo_path=self._repo_path,
        )
        return part.to_arrow()


def _offset_and_length(rows: slice, total: int) -> tuple[int, int]:
    start, stop, _ = rows.indices(total)
    return start, max(stop - start, 0)
