"""The lazy result of a point-in-time join: whole, in batches, or any rows of it, at random."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_asof.entities import Entities, instant
from feast_asof.errors import AsOfError
from feast_asof.memory import give_back
from feast_asof.search import Int32Array
from feast_asof.shared import SharedSource, SourceColumns
from feast_asof.source_gathering import SourceGathering
from feast_asof.threads import THREADS
from feast_asof.times import Instants, one_chunk
from feast_asof.views import JoinedView
from feast_asof.writing import save_dataset, write_whole_file

if TYPE_CHECKING:
    import ray.data

BATCH_ROWS = 262_144


class AsOfRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """The point-in-time join of an entity dataframe with views, computed when it is asked for.

    The result has the entity dataframe's rows, in the caller's order, with duplicates and extra columns.
    """

    def __init__(
        self,
        config: RepoConfig | None,
        entities: Entities,
        views: Sequence[JoinedView] = (),
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        feature_refs: Sequence[str] | None = None,
        positions: Mapping[str, Int32Array] | None = None,
    ) -> None:
        self._config = config  # None where nothing is persisted
        self._entities = entities
        self._views = {view.name: view for view in views}
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._feature_refs = feature_refs
        self._positions = dict(positions or {})

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
        """Features, keys and time range of the request; for a path, this reads the rows' times."""
        if self._feature_refs is None:
            return None
        times = self._entities.times.floor("us")
        return RetrievalMetadata(
            features=list(self._feature_refs),
            keys=[name for name in self._entities.schema.names if name != self._entities.time_column],
            min_event_timestamp=instant(times.min()) if len(times) else None,
            max_event_timestamp=instant(times.max()) if len(times) else None,
        )

    @property
    def num_rows(self) -> int:
        """Number of rows of the result, which is that of the entity dataframe."""
        return self._entities.num_rows

    @property
    def column_names(self) -> list[str]:
        """Columns of `take`: the entity dataframe's, then each view's, without on-demand features."""
        return list(self.schema.names)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of `take`."""
        joined = [pair for view in self._views.values() for pair in view.feature_types().items()]
        return pa.schema([*self._entities.schema, *(pa.field(*pair) for pair in joined)])

    def positions(self, view_name: str) -> Int32Array:
        """Source row of the view for each entity row: int32 [rows]; -1 if no value was known."""
        view = self._view(view_name)
        if view_name not in self._positions:
            found = view.positions(self._entities.table, self._entities.times)
            same = [other.name for other in self._views.values() if other.finds_as == view.finds_as]
            self._positions.update(dict.fromkeys(same, found))
        return self._positions[view_name]

    def source_column(self, view_name: str, feature: str) -> pa.Array:
        """A view's whole feature column as read from its source, to be gathered by `positions`."""
        view = self._view(view_name)
        return view.features[view.names[feature]]

    def take(self, rows: "np.ndarray[Any, Any] | slice") -> pa.Table:
        """The joined columns of these entity rows, in the given order, without on-demand features.

        Args:
            rows: integer indices or a slice into the entity dataframe.
        """
        if isinstance(rows, slice) and rows.indices(self.num_rows)[2] == 1:
            taken = self._entities.part(rows).table
        else:
            indices = np.arange(self.num_rows)[rows] if isinstance(rows, slice) else rows
            taken = self._entities.table.take(pa.array(np.asarray(indices, dtype=np.int64)))
        columns = list(taken.columns)
        for view in self._views.values():
            columns += view.gather(self.positions(view.name)[rows])
        return pa.table(columns, schema=self.schema)

    def to_arrow_batches(self, max_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The whole result, on-demand features included, at most `max_rows` rows at a time."""
        if max_rows < 1:
            raise AsOfError(f"max_rows is {max_rows}; it is at least 1.")
        # A job without rows gives one empty batch, which carries the schema.
        for start in range(0, max(self.num_rows, 1), max_rows):
            part = self._part(slice(start, start + max_rows)).to_arrow()
            yield pa.record_batch([one_chunk(column) for column in part.columns], schema=part.schema)

    def to_parquet(self, path: str | Path, *, max_rows: int = BATCH_ROWS, **options: Any) -> int:
        """Write the result to one parquet file, batch by batch; the wide table never exists as a whole.

        Args:
            path: appears once the file is complete.
            max_rows: rows per batch.
            options: for pyarrow.parquet.ParquetWriter, such as compression.

        Returns:
            Number of rows written.
        """
        return write_whole_file(Path(path), self.to_arrow_batches(max_rows), **options)

    def to_ray_dataset(self) -> "ray.data.Dataset":
        """The whole result as a lazy Ray dataset, on-demand features included, in no defined order.

        Each source is read and indexed once, by a task, and shared by a node's actors through the object
        store. An entity dataframe at a path is read by the actors too, so neither it nor the result is ever
        in this process. Connects to a running Ray, or starts one as `ray.data` would.

        Raises:
            AsOfError: Ray is not installed, or a source cannot be read. Rows that cannot be joined fail
                later,
                when the dataset is executed.
        """
        try:
            from feast_asof.on_ray import joined_dataset
        except ModuleNotFoundError:
            raise AsOfError("to_ray_dataset: Ray is not installed; `pip install 'ray[data]'`.") from None
        return joined_dataset(
            self._entities,
            list(self._views.values()),
            on_demand=self._on_demand,
            full_feature_names=self._full_feature_names,
            feature_refs=self._feature_refs,
            join=joined_rows,
        )

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result to a saved dataset's location; refuses to replace one unless `allow_overwrite`."""
        assert self._config is not None
        save_dataset(self._config, storage, self.to_arrow_batches(), allow_overwrite=allow_overwrite)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        """The whole result. Sources that this job has not read yet are scanned and released one by one.

        The largest comes first, while the result is still small. Entity rows are read while it is indexed,
        and its columns are gathered while the next source is.
        """
        if not self._views:
            return self._entities.table
        entities = THREADS.submit(lambda: (self._entities.table, self._entities.times))
        joined: dict[str, Mapping[str, pa.Array]] = {}
        gathering: SourceGathering | None = None
        sources = dict.fromkeys(view.shared for view in self._views.values())
        for source in sorted(sources, key=lambda source: source.values, reverse=True):
            found, features = self._scan(source, entities)
            if gathering is not None:
                joined |= gathering.result()
            # The searches took at least as much again as the positions that they left.
            give_back(2 * sum(positions.nbytes for _, positions in found))
            gathering = SourceGathering(features, found)
            if features.file is None:
                # Two sources that are in memory as a whole would be much at a time.
                joined |= gathering.result()
                gathering = None
                give_back(features.nbytes)
            del features
        if gathering is not None:
            joined |= gathering.result()
        columns = [column for view in self._views.values() for column in joined[view.name].values()]
        return pa.table([*self._entities.table.columns, *columns], schema=self.schema)

    def _scan(
        self, source: SharedSource, entities: Future[tuple[pa.Table, Instants]]
    ) -> tuple[list[tuple[JoinedView, Int32Array]], SourceColumns]:
        """Each view of a source with its positions, and the source's columns."""
        views = [view for view in self._views.values() if view.shared is source]
        if source.is_read or views[0].known is not None:
            read = views[0].known or source.read
            entities.result()
            found = [(view, self.positions(view.name)) for view in views]
            return found, SourceColumns(source.opened, None, read.columns)
        indexes, columns = source.scan()
        positions: dict[object, Int32Array] = {}
        for view in views:
            if view.finds_as not in positions:
                positions[view.finds_as] = view.positions(*entities.result(), indexes)
        return [(view, positions[view.finds_as]) for view in views], columns

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _view(self, name: str) -> JoinedView:
        if name not in self._views:
            raise AsOfError(f"feature view {name} is not in this job, which has {', '.join(self._views)}.")
        return self._views[name]

    def _part(self, rows: slice) -> "AsOfRetrievalJob":
        """A job of these rows only, which shares the indexes and the positions already found."""
        return AsOfRetrievalJob(
            self._config,
            self._entities.part(rows),
            list(self._views.values()),
            on_demand=self._on_demand,
            full_feature_names=self._full_feature_names,
            feature_refs=self._feature_refs,
            positions={name: self.positions(name)[rows] for name in self._views},
        )


def joined_rows(
    entities: Entities,
    views: Sequence[JoinedView],
    *,
    on_demand: Sequence[OnDemandFeatureView],
    full_feature_names: bool,
    feature_refs: Sequence[str] | None,
) -> pa.Table:
    """Entity rows joined with views, on-demand features included: the work of a cluster's actor."""
    job = AsOfRetrievalJob(
        None,
        entities,
        views,
        on_demand=on_demand,
        full_feature_names=full_feature_names,
        feature_refs=feature_refs,
    )
    return job.to_arrow()
