"""One feature view's part of a join: checked at once, read and indexed when a value is first asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView

from feast_asof.errors import AsOfError
from feast_asof.gathering import Gathering
from feast_asof.index import AsOfIndex
from feast_asof.keys import comparable_to, require_same_kind
from feast_asof.search import BLOCK_ROWS, Int32Array
from feast_asof.shared import IndexedBy, ReadSource, SharedSource, SharedSources
from feast_asof.sources import ParquetSource
from feast_asof.threads import THREADS, shares
from feast_asof.times import Instants, one_chunk


@dataclass
class JoinedView:
    """A view's source, keys and features.

    Attributes:
        name: as in feature references.
        keys: source key column -> entity dataframe column.
        names: feature -> its name in the result.
        known: the source as another process read and indexed it; None to do so here on first use.
    """

    name: str
    source: ParquetSource
    shared: SharedSource
    timestamp_field: str
    created_timestamp_column: str | None
    keys: Mapping[str, str]
    names: Mapping[str, str]
    ttl: timedelta
    filter_by_created: bool
    known: ReadSource | None = None

    @property
    def indexed_by(self) -> IndexedBy:
        """The columns of this view's index."""
        name_of = self.source.name_of
        created = self.created_timestamp_column
        return IndexedBy(
            keys=tuple(map(name_of, self.keys)),
            timestamp=name_of(self.timestamp_field),
            created=name_of(created) if created else None,
            filter_by_created=self.filter_by_created,
        )

    @property
    def finds_as(self) -> tuple[object, ...]:
        """Equal for two views that find the same rows of the same source."""
        return id(self.shared), self.indexed_by, tuple(self.keys.values()), self.ttl

    @property
    def columns(self) -> Mapping[str, str]:
        """The source's feature columns, as it calls them, by their names in the result."""
        return {name: self.source.name_of(feature) for feature, name in self.names.items()}

    @property
    def features(self) -> Mapping[str, pa.Array]:
        """The source's feature columns by their names in the result, each in one chunk."""
        read = self._read.columns
        return {name: read[column] for name, column in self.columns.items()}

    @property
    def _read(self) -> ReadSource:
        return self.known or self.shared.read

    def feature_types(self) -> dict[str, pa.DataType]:
        """Arrow types by result name, without reading a row."""
        return {name: self.source.type_of(feature) for feature, name in self.names.items()}

    def positions(
        self, entities: pa.Table, times: Instants, indexes: Mapping[IndexedBy, AsOfIndex] | None = None
    ) -> Int32Array:
        """Source row for each entity row: int32; -1 if no value was known at its time.

        Args:
            indexes: of the source, if it has been scanned; by default it is read.
        """
        ttl_us = self.ttl // timedelta(microseconds=1)
        found = np.empty(len(times), dtype=np.int32)
        index = (self._read.indexes if indexes is None else indexes)[self.indexed_by]

        def look_up(start: int) -> None:
            keys = [
                comparable_to(one_chunk(entities[column].slice(start, BLOCK_ROWS)), self.source.type_of(key))
                for key, column in self.keys.items()
            ]
            rows = slice(start, start + BLOCK_ROWS)
            found[rows] = index.lookup(keys, times[rows], ttl_us)

        list(THREADS.map(look_up, range(0, len(times), BLOCK_ROWS)))
        return found

    def gather(self, positions: Int32Array) -> list[pa.Array]:
        """The feature columns at these source rows, null for a position of -1."""
        parts = THREADS.map(Gathering(positions).of, shares(list(self.features.values())))
        return [column for part in parts for column in part]


def join_view(
    sources: SharedSources,
    view: FeatureView,
    feature_refs: Sequence[str],
    *,
    full_feature_names: bool,
    filter_by_created: bool,
) -> JoinedView:
    """The view's part of a join, with its source opened and its columns checked.

    Raises:
        AsOfError: the source or a column is missing; the message names view, column and path.
    """
    name = view.projection.name_to_use()
    what = f"feature view {name}"
    batch = view.batch_source
    source, shared = sources.open(batch, what=what)
    requested = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{name}:")]
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    key_map = view.projection.join_key_map or {}
    joined = JoinedView(
        name=name,
        source=source,
        shared=shared,
        timestamp_field=batch.timestamp_field,
        created_timestamp_column=batch.created_timestamp_column or None,
        keys={
            entity.name: key_map.get(entity.name, entity.name)
            for entity in view.entity_columns
            if entity.name != DUMMY_ENTITY_ID
        },
        names={feature: f"{prefix}{feature}" for feature in requested},
        ttl=view.ttl or timedelta(),
        filter_by_created=filter_by_created,
    )
    for column in [*joined.keys, *joined.names, joined.timestamp_field]:
        source.type_of(column)
    if joined.created_timestamp_column:
        source.type_of(joined.created_timestamp_column)
    shared.need(joined.indexed_by, [source.name_of(feature) for feature in joined.names], what=what)
    return joined


def check_entities(entities: pa.Schema, views: Sequence[JoinedView]) -> None:
    """Raise AsOfError if the entity dataframe lacks a key, has it in another type, or has a feature."""
    for view in views:
        for key, column in view.keys.items():
            if column not in entities.names:
                raise AsOfError(
                    f"{view.source.what}: key column '{column}' is not in the entity dataframe, "
                    f"which has {', '.join(entities.names)}."
                )
            require_same_kind(
                entities.field(column).type,
                view.source.type_of(key),
                what=view.source.what,
                column=column,
                path=view.source.path,
            )
        for name in view.names.values():
            if name in entities.names:
                raise AsOfError(
                    f"{view.source.what}: the entity dataframe has a column '{name}' already; "
                    f"rename it, or ask for full_feature_names."
                )
