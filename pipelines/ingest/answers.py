"""Rows from databases as Arrow tables of types that Parquet can store and ingest can read.

Numbers of any precision keep their digits: they may be ids.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from nightreel.core.errors import InputError

_TYPES: tuple[tuple[tuple[type, ...], pa.DataType], ...] = (
    ((bool,), pa.bool_()),
    ((bool, int), pa.int64()),
    ((bool, int, float), pa.float64()),
)
# The type of a watermark of any precision, whose values are compared.
_COMPARED = pa.decimal128(38, 9)
_CAST = "Cast it in the query, e.g. CAST(... AS TEXT)."
_INT64 = range(-(2**63), 2**63)


def plain(table: pa.Table, watermark: str | None) -> pa.Table:
    """A driver's table with database-specific types as text, as the database writes them.

    Args:
        watermark: the column whose values are compared; its numbers stay numbers.

    Raises:
        InputError: for a column that cannot be written as text.
    """
    columns = [_plain(table.field(n), column) for n, column in enumerate(table.columns)]
    if watermark in table.column_names and isinstance(table.schema.field(watermark).type, pa.OpaqueType):
        at = table.column_names.index(watermark)
        columns[at] = columns[at].cast(_COMPARED)
    return pa.table(columns, names=table.column_names)


def _plain(field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = field.type
    if isinstance(kind, pa.UuidType):
        return _uuids(pa.chunked_array([one.storage for one in column.chunks], pa.binary(16)))
    if isinstance(kind, pa.BaseExtensionType):
        if not pa.types.is_string(kind.storage_type):
            raise InputError(f"column {field.name} of the query of [data]: {kind} cannot be read.", _CAST)
        return pa.chunked_array([one.storage for one in column.chunks], pa.string())
    if pa.types.is_interval(kind) or pa.types.is_union(kind):
        raise InputError(f"column {field.name} of the query of [data]: {kind} cannot be read.", _CAST)
    if pa.types.is_timestamp(kind) and kind.unit != "us":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _uuids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = pl.Series("uuid", column.cast(pa.binary())).bin.encode("hex")
    ends = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    parts = [pl.col("uuid").str.slice(at, length) for at, length in ends]
    written = texts.to_frame().select(pl.concat_str(parts, separator="-"))["uuid"].to_arrow()
    return pa.chunked_array([written.cast(pa.string())])


def table_of_rows(
    names: list[str], rows: list[Any], watermark: str | None, schema: pa.Schema | None = None
) -> pa.Table:
    """Rows of Python values as a table.

    Args:
        schema: of the earlier rows; by default inferred from these.
        watermark: the column whose values are compared.

    Raises:
        InputError: if a value is not of its column's type.
    """
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    if schema is None or not rows:
        typed = zip(names, values, strict=True)
        schema = pa.schema([(name, _type(column, is_compared=name == watermark)) for name, column in typed])
    arrays = [_array(column, field) for column, field in zip(values, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _type(values: tuple[Any, ...], *, is_compared: bool) -> pa.DataType:
    """The type of a column by its first rows; text if they are of several kinds or all null."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and all(issubclass(kind, datetime) for kind in kinds):
        zoned = any(value.tzinfo is not None for value in values if value is not None)
        return pa.timestamp("us", "UTC" if zoned else None)
    if is_compared and kinds and kinds <= {Decimal, int}:
        return _COMPARED if Decimal in kinds else pa.int64()
    if int in kinds and any(type(value) is int and value not in _INT64 for value in values):
        return pa.string()
    return next((found for of, found in _TYPES if kinds and kinds <= set(of)), pa.string())


def _array(values: tuple[Any, ...], field: pa.Field) -> pa.Array:
    if field.type == pa.string():
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    try:
        if field.type == pa.float64():
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise InputError(
            f"column {field.name} of the query of [data]: first values like {field.type}, then others.",
            _CAST,
        ) from None


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)
