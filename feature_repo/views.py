"""The feature views, as the catalogue has them."""

from datetime import timedelta
from typing import Any

from feast import FeatureView, Field, ValueType
from feast.data_source import DataSource
from feast.types import Array, Float32, Int32, Int64, String, UnixTimestamp

from feature_repo.entities import FEAST_ENTITIES, OWNER, key_type
from feature_repo.home import current_settings
from feature_repo.sources import SOURCES, source_of
from nightreel.core.catalogue import Catalogue, View
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.settings import Paths

# No value goes stale. Feast's ttl of zero says the same, but there `feast materialize-incremental` looks back
# a single year from today, which leaves out older logs and all that is always known.
FOR_EVER = timedelta(days=36_500)
FEAST_TYPES = {
    "int32": Int32,
    "int64": Int64,
    "float32": Float32,
    "string": String,
    "timestamp": UnixTimestamp,
    "ints": Array(Int32),
    "floats": Array(Float32),
}


def _key_dtype(key: str, paths: Paths) -> Any:
    return String if key_type(key, paths) is ValueType.STRING else Int64


def view_of(view: View, source: DataSource) -> FeatureView:
    """Feast's view of an entry of the catalogue."""
    return FeatureView(
        name=view.name,
        entities=[FEAST_ENTITIES[entity] for entity in view.entities],
        ttl=FOR_EVER,
        schema=[
            *(Field(name=key, dtype=_key_dtype(key, current_settings().paths)) for key in view.join_keys),
            *(
                Field(name=feature.name, dtype=FEAST_TYPES[feature.type], description=feature.description)
                for feature in view.features
            ),
        ],
        source=source,
        # Pairs are too many for a store that holds each key's newest value.
        online=not view.is_of_pairs,
        description=view.description,
        owner=OWNER,
        tags={"group": view.group},
    )


VIEWS = tuple(view_of(view, SOURCES[view.name]) for view in BUILTIN.stored)
BY_NAME = {view.name: view for view in VIEWS}


def set_key_types(paths: Paths) -> None:
    """Give the join keys the types of another home's ids, as `point_sources_at` gives sources its files."""
    for entity in FEAST_ENTITIES.values():
        entity.value_type = key_type(entity.join_key, paths)
    for view in VIEWS:
        for column in view.entity_columns:
            column.dtype = _key_dtype(column.name, paths)


def own_views(catalogue: Catalogue, paths: Paths) -> tuple[FeatureView, ...]:
    """The views of the user's own modules, which read the files of a home."""
    return tuple(view_of(view, source_of(view, paths)) for view in catalogue.own)
