"""One schema for files of several: every column of any of them, in a type that holds the values of all."""

from collections.abc import Sequence

import pyarrow as pa

# From the coarsest to the finest.
UNITS = ("s", "ms", "us", "ns")
DECIMAL128_DIGITS = 38
DECIMAL256_DIGITS = 76
# Digits of a 64-bit integer, signed or unsigned: one type may have been made from both.
WHOLE_DIGITS = 20


def unite(files: Sequence[str], schemas: Sequence[pa.Schema]) -> tuple[pa.Schema, dict[str, str]]:
    """The union of the files' schemas, and what is wrong with each column that has no common type.

    Columns are in order of first occurrence. A column without a common type has its first one.
    """
    if all(schema.equals(schemas[0]) for schema in schemas[1:]):
        return schemas[0], {}
    types: dict[str, pa.DataType] = {}
    files_of: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for file, schema in zip(files, schemas, strict=True):
        for field in schema:
            known = types.get(field.name)
            common = field.type if known is None else common_type(known, field.type)
            if common is None:
                wrong.setdefault(
                    field.name,
                    f"column '{field.name}' is {known} in {files_of[field.name]}, but {field.type} in {file}",
                )
            elif common != known:
                types[field.name], files_of[field.name] = common, file
    return pa.schema(list(types.items()), metadata=schemas[0].metadata), wrong


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds the values of both; None if there is none.

    A value that does not fit after all, such as an integer beyond a float's precision, makes the read fail.
    """
    one, other = _plain(one), _plain(other)
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for of_both, unite_types in (
        (pa.types.is_integer, _integer),
        (pa.types.is_floating, lambda *both: max(both, key=lambda kind: kind.bit_width)),
        (_is_text, lambda *_: pa.large_string()),
        (_is_bytes, lambda *_: pa.large_binary()),
        (_is_whole_or_float, lambda *_: pa.float64()),
        (_is_whole_or_decimal, _decimal),
        (pa.types.is_temporal, _instant),
    ):
        if of_both(one) and of_both(other):
            common: pa.DataType | None = unite_types(one, other)
            return common
    return _nested(one, other)


def without_views(kind: pa.DataType) -> pa.DataType:
    """The type with offsets instead of string views, which Arrow cannot gather, sort or write."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, without_views(kind.value_type), kind.ordered)
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(without_views(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(without_views(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(without_views(kind.value_type)), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(without_views(field.type)) for field in kind])
    return kind


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_whole_or_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_whole_or_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _integer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    narrow, wide = sorted((one, other), key=lambda kind: kind.bit_width)
    if pa.types.is_signed_integer(one) == pa.types.is_signed_integer(other):
        return wide
    if pa.types.is_signed_integer(wide) and narrow.bit_width < wide.bit_width:
        return wide
    return {8: pa.int16(), 16: pa.int32()}.get(wide.bit_width, pa.int64())


def _decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    digits = [_digits(kind) for kind in (one, other)]
    scale = max(after for _, after in digits)
    precision = max(before for before, _ in digits) + scale
    if precision <= DECIMAL128_DIGITS:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale) if precision <= DECIMAL256_DIGITS else None


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """How many digits there are before the point, and how many after it."""
    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return WHOLE_DIGITS, 0


def _instant(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The common type of timestamps and dates. A time without a zone is UTC, as everywhere in this store."""
    times = [kind for kind in (one, other) if pa.types.is_timestamp(kind)]
    dates = [kind for kind in (one, other) if pa.types.is_date(kind)]
    if len(times) + len(dates) < 2:
        return None
    if not times:
        return pa.date64()
    unit = max((kind.unit for kind in times), key=UNITS.index)
    zones = {kind.tz for kind in times}
    return pa.timestamp(unit, zones.pop() if len(zones) == 1 else "UTC")


def _nested(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_nested(one) and pa.types.is_nested(other)):
        return None
    schemas = [pa.schema([("value", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field("value").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
