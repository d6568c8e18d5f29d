"""Rows of a feature view as Feast's SQLite online store holds them, made column by column.

Feast makes an object of its own for each value, then a statement for each. Here what a column repeats is
made once, and numbers become bytes together; the bytes are the same as Feast's.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from sqlite3 import Connection
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureView, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.infra.online_stores.sqlite import adapt_datetime_epoch
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.type_map import python_values_to_proto_values
from feast.utils import to_naive_utc

from nightreel.core.arrow import one_array

# Each value as stored: the serialized Value, and its text.
Stored = tuple[Sequence[bytes], Sequence[str | None]]
_COLUMNS = ("entity_key", "feature_name", "value", "value_text", "event_ts", "created_ts")
_UNKNOWN = Value().SerializeToString()
_ROWS_AT_A_TIME = 50_000


def write_rows(connection: Connection, table: str, view: FeatureView, rows: pa.Table, version: int) -> None:
    """Add or replace the rows' values, in one transaction.

    Args:
        table: its name, quoted.
        rows: keys, features and stamps, under the view's names.
        version: how entity keys are serialized.
    """
    updated = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[2:])
    statement = (
        f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?) "
        f"ON CONFLICT(entity_key, feature_name) DO UPDATE SET {updated}"
    )
    with connection:
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows.slice(start, _ROWS_AT_A_TIME).combine_chunks()
            connection.executemany(statement, _values(view, part, version))


def _values(view: FeatureView, rows: pa.Table, version: int) -> Iterator[tuple[Any, ...]]:
    """A tuple per value, row by row."""
    source = view.batch_source
    keys = _entity_keys(view, rows, version)
    stamps = _stamps(rows, source.timestamp_field)
    created = source.created_timestamp_column
    created_stamps = _stamps(rows, created) if created else repeat(None)
    of_features = []
    for feature in view.features:
        values, texts = stored_values(rows[feature.name], feature.dtype.to_value_type())
        of_features.append(zip(keys, repeat(feature.name), values, texts, stamps, created_stamps))
    return chain.from_iterable(zip(*of_features, strict=True))


def stored_values(column: pa.ChunkedArray, kind: ValueType) -> Stored:
    """A column's values as Feast stores them; a number that is not one is unknown."""
    values = one_array(column)
    if kind == ValueType.FLOAT and pa.types.is_float32(values.type):
        return _floats(values)
    if kind == ValueType.FLOAT_LIST and pa.types.is_float32(getattr(values.type, "value_type", None)):
        return _float_lists(values)
    if pa.types.is_nested(values.type):
        # Arrow does not say which lists are equal, so each counts as a value of its own.
        is_known = values.is_valid().to_numpy(zero_copy_only=False)
        different, indices = values.drop_null(), pa.array(np.cumsum(is_known) - 1, mask=~is_known)
    else:
        encoded = values.dictionary_encode()
        different, indices = encoded.dictionary, encoded.indices
    # Unknown values are handled separately: beside them, integers would become floats.
    known, unknown = (
        python_values_to_proto_values(part.to_numpy(zero_copy_only=False), kind)
        for part in (different, pa.nulls(1, values.type))
    )
    protos = [*known, *unknown]
    at = indices.fill_null(len(known)).to_pylist()
    contents = [proto.SerializeToString() for proto in protos]
    texts = [extract_text_and_num(proto, False)[0] for proto in protos]
    return [contents[one] for one in at], [texts[one] for one in at]


def _floats(values: pa.Array) -> Stored:
    numbers = values.to_numpy(zero_copy_only=False)
    known = ~np.isnan(numbers)
    begins = Value(float_val=1.0).SerializeToString()[:-4]
    packed = numbers.astype("<f4").tobytes()
    contents = [begins + packed[at : at + 4] for at in range(0, len(packed), 4)]
    texts: list[str | None] = [str(number) for number in numbers.astype(np.float64).tolist()]
    for at in np.flatnonzero(~known).tolist():
        contents[at], texts[at] = _UNKNOWN, None
    return contents, texts


def _float_lists(values: pa.Array) -> Stored:
    """Lists of numbers as stored; lists of equal length differ only in their last bytes."""
    lengths = values.value_lengths().fill_null(-1).to_numpy()
    packed = values.flatten().to_numpy(zero_copy_only=False).astype("<f4").tobytes()
    begins = {
        length: Value(float_list_val=FloatList(val=[0.0] * length)).SerializeToString()[: -4 * length or None]
        for length in set(lengths.tolist())
        if length >= 0
    }
    contents, at = [], 0
    for length in lengths.tolist():
        end = at + 4 * max(length, 0)
        contents.append(_UNKNOWN if length < 0 else begins[length] + packed[at:end])
        at = end
    return contents, [None] * len(contents)


def _entity_keys(view: FeatureView, rows: pa.Table, version: int) -> list[bytes]:
    names = [column.name for column in view.entity_columns]
    kinds = [column.dtype.to_value_type() for column in view.entity_columns]
    values = [
        python_values_to_proto_values(rows[name].to_numpy(), kind)
        for name, kind in zip(names, kinds, strict=True)
    ]
    return [
        serialize_entity_key(
            EntityKey(join_keys=names, entity_values=list(of_row)), entity_key_serialization_version=version
        )
        for of_row in zip(*values, strict=True)
    ]


def _stamps(rows: pa.Table, name: str) -> list[int]:
    """Instants as SQLite stores them for Feast; few are different ones."""
    encoded = rows[name].combine_chunks().dictionary_encode()
    instants = [adapt_datetime_epoch(to_naive_utc(one)) for one in encoded.dictionary.to_pylist()]
    return [instants[at] for at in encoded.indices.to_pylist()]
