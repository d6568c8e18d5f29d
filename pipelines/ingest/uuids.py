"""Converts UUIDs in frames and files, Python objects or Arrow's 16 bytes, to text."""

import uuid
from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa

_ARROW = "arrow.uuid"
_BETWEEN = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


def frame_of(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a Polars frame, with its UUIDs as text."""
    frame = pl.DataFrame(table)
    held = [field.name for field in table.schema if getattr(field.type, "extension_name", "") == _ARROW]
    return frame.with_columns(_from_bytes(name) for name in held)


def without_objects(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with Python UUID objects as text; other objects stay as they are."""
    held = [name for name, kind in frame.schema.items() if kind == pl.Object]
    found = {name: uuid_texts(frame[name].to_list()) for name in held}
    return frame.with_columns(
        pl.Series(name, texts, dtype=pl.String) for name, texts in found.items() if texts is not None
    )


def uuid_texts(values: Iterable[Any]) -> list[str | None] | None:
    """Values as text, None if missing; None instead of a list if no value is a UUID object."""
    present = list(values)
    if not any(isinstance(one, uuid.UUID) for one in present):
        return None
    return [str(one) if isinstance(one, uuid.UUID | str) else None for one in present]


def _from_bytes(name: str) -> pl.Expr:
    digits = pl.col(name).cast(pl.Binary).bin.encode("hex")
    return pl.concat_str([digits.str.slice(at, n) for at, n in _BETWEEN], separator="-").alias(name)
