"""Key columns brought to one type on both sides of the join, so that equal keys compare equal."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from feast_asof.errors import AsOfError

EXACT = "exact number"
NULL = str(pa.null())
# Room for any whole number of 64 bits with any fraction of a decimal of 128 bits.
WIDEST_DIGITS = 76


def comparable(column: pa.Array) -> pa.Array:
    """The key column, cast to the type in which keys of its kind are compared."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # NaN is not a key and equals nothing.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(_compared(column.type))


def comparable_to(column: pa.Array, source: pa.DataType) -> pa.Array:
    """The entity dataframe's key column, cast to the type in which the source's is compared.

    A number that this type cannot hold matches no key of the source and becomes null.
    """
    column, target = comparable(column), _compared(source)
    if column.type == target or _kind(target) != EXACT or pa.types.is_null(column.type):
        return column
    return _held_by(column, target)


def require_same_kind(entity: pa.DataType, source: pa.DataType, *, what: str, column: str, path: str) -> None:
    """Raise AsOfError if a key column of the entity dataframe can never equal the source's.

    A column of nulls only, which has no type, fits any.
    """
    kinds = {_kind(entity), _kind(source)}
    if len(kinds - {NULL}) > 1:
        raise AsOfError(
            f"{what}: key column '{column}' is {entity} in the entity dataframe, but {source} in {path}; "
            f"cast one of them."
        )


def is_untyped(kind: pa.DataType) -> bool:
    """Whether a type may be what pandas gives to an empty column: null, a category of nulls, or float."""
    return _kind(kind) == NULL or pa.types.is_floating(kind)


def _compared(kind: pa.DataType) -> pa.DataType:
    """One type for all widths; whole numbers of 64 bits without a sign and decimals keep theirs."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    if pa.types.is_date(kind):
        return pa.date32()
    by_name = {"text": pa.large_string(), "bytes": pa.large_binary(), "float": pa.float64()}
    return by_name.get(_kind(kind), kind)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return EXACT
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "bytes"
    return "date" if pa.types.is_date(kind) else str(kind)


def _held_by(column: pa.Array, target: pa.DataType) -> pa.Array:
    """Exact numbers in another exact type, null where it does not hold them."""
    own_scale = column.type.scale if pa.types.is_decimal(column.type) else 0
    if pa.types.is_decimal(target):
        scale, largest = target.scale, Decimal(10) ** (target.precision - target.scale)
        low, high = -largest, largest
    else:
        scale, low, high = 0, Decimal(0), Decimal(2) ** 64
        if pa.types.is_int64(target):
            low, high = -(Decimal(2) ** 63), Decimal(2) ** 63
    wide = pa.decimal256(WIDEST_DIGITS, max(scale, own_scale))
    exact = column.cast(wide)
    fits = pc.equal(exact.cast(pa.decimal256(WIDEST_DIGITS, scale), safe=False).cast(wide), exact)
    fits = pc.and_(fits, pc.less(exact, pa.scalar(high, wide)))
    # The lowest value of an integer type belongs to it; the bound of a decimal type does not.
    above = pc.greater if pa.types.is_decimal(target) else pc.greater_equal
    fits = pc.and_(fits, above(exact, pa.scalar(low, wide)))
    return pc.if_else(fits, exact, pa.scalar(None, wide)).cast(target)
