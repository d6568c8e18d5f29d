"""Key columns brought to one type on both sides of the join, so that equal keys compare equal."""

import pyarrow as pa
import pyarrow.compute as pc

from feast_asof.errors import AsOfError


def comparable(column: pa.Array) -> pa.Array:
    """The key column as int64, uint64 or large_string where it is a number or text of any width."""
    kind = _kind(column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # What is not a number is no key either, and equals nothing.
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    target = {"whole number": pa.int64(), "text": pa.large_string()}.get(kind)
    if target is None or pa.types.is_uint64(column.type):
        return column
    return column.cast(target)


def require_same_kind(entity: pa.DataType, source: pa.DataType, *, what: str, column: str, path: str) -> None:
    """Raise AsOfError where a key column of the entity dataframe cannot equal the source's.

    A column of nulls only, which has no type of its own, fits any.
    """
    if not (pa.types.is_null(entity) or pa.types.is_null(source)) and _kind(entity) != _kind(source):
        raise AsOfError(
            f"{what}: key column '{column}' is {entity} in the entity dataframe, but {source} in {path}; "
            f"cast one of them."
        )


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_uint64(kind):
        return "uint64"
    if pa.types.is_integer(kind):
        return "whole number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return str(kind)
