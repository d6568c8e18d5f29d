"""A source's rows between two instants, as materialization asks for them: all, or the newest of each key."""

import logging
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_asof.index import build_index
from feast_asof.keys import comparable
from feast_asof.search import Int64Array
from feast_asof.sources import ParquetSource
from feast_asof.times import is_text, one_chunk, read_instants, read_text

LOG = logging.getLogger(__name__)

Ends = tuple[datetime | None, datetime | None]


def rows_between(
    source: ParquetSource,
    keys: list[str],
    features: list[str] | None,
    timestamp_field: str,
    created_timestamp_column: str | None,
    ends: Ends,
) -> pa.Table:
    """The rows between two instants, both included, that have all keys; times as text become instants.

    Args:
        features: None for every column.
        ends: None for an open one.
    """
    times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
    table = source.read([*(source.dataset.schema.names if features is None else [*keys, *features]), *times])
    asked = _asked(source, table, keys, timestamp_field, ends)
    return _with_instants(source, table.take(pa.array(asked)).combine_chunks(), times)


def newest_rows(
    source: ParquetSource,
    keys: list[str],
    features: list[str],
    timestamp_field: str,
    created_timestamp_column: str | None,
    ends: Ends,
) -> pa.Table:
    """The newest row of each key between two instants, both included; times as text become instants.

    Of one local file, features are read only from row groups with such a row, one after the other: nearly all
    rows of a source that has grown for long are older.

    Args:
        ends: None for an open one.
    """
    times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
    indexed = list(dict.fromkeys([*keys, *times]))
    names = list(dict.fromkeys([*keys, *features, *times]))
    for name in names:
        source.type_of(name)
    file = source.hold_open(names)
    table = source.read(names) if file is None else source.read_open(file, indexed)
    asked = _asked(source, table, keys, timestamp_field, ends)
    of_asked = _with_instants(source, table.select(indexed).take(pa.array(asked)).combine_chunks(), times)
    created = of_asked[created_timestamp_column] if created_timestamp_column else None
    index = build_index(
        [comparable(one_chunk(of_asked[key])) for key in keys],
        read_instants(of_asked[timestamp_field], what=source.what),
        None if created is None else read_instants(created, what=source.what, nulls_allowed=True),
    )
    newest = asked[index.last_rows()]
    if file is None:
        rows = table.take(pa.array(newest)).combine_chunks()
    else:
        rows = source.read_rows(file, names, newest)
    return _with_instants(source, rows, times)


def _asked(
    source: ParquetSource, table: pa.Table, keys: list[str], timestamp_field: str, ends: Ends
) -> Int64Array:
    """The rows between two instants that have all keys, ascending. Warns about those without a key."""
    keep = source.instants(table, timestamp_field).between(*ends)
    has_keys = np.ones(len(keep), dtype=bool)
    for key in keys:
        has_keys &= pc.invert(pc.is_null(table[key], nan_is_null=True)).to_numpy()
    if without := int(np.count_nonzero(keep & ~has_keys)):
        LOG.warning(
            "%s: left out %d of %d rows of %s whose key (%s) is null.",
            source.what,
            without,
            int(np.count_nonzero(keep)),
            source.path,
            ", ".join(keys),
        )
    return np.flatnonzero(keep & has_keys)


def _with_instants(source: ParquetSource, rows: pa.Table, times: list[str]) -> pa.Table:
    """Rows with instants for times that are text.

    Feast, which reads these columns next, would give a text without an offset that of the text before it.
    """
    for name in times:
        if is_text(rows.schema.field(name).type):
            what = f"{source.what}, column '{name}' of {source.path}"
            instants = read_text(one_chunk(rows[name]), what=what)
            rows = rows.set_column(rows.schema.get_field_index(name), name, instants)
    return rows
