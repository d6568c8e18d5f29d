"""Delta and Iceberg tables as raw files: by Polars' readers, which need the extra of that name."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from nightreel.core.errors import InputError

DELTA, ICEBERG = "delta", "iceberg"
_MODULES = {DELTA: "deltalake", ICEBERG: "pyiceberg"}
_ROWS_AT_A_TIME = 50_000


def lake_kind(path: Path) -> str | None:
    """Which kind of table a folder is; None where it is a folder of files."""
    if (path / "_delta_log").is_dir():
        return DELTA
    return ICEBERG if _metadata(path) else None


def lake_rows(path: Path) -> tuple[list[str], Iterator[pl.DataFrame]]:
    """The columns and the rows of a table as it is now, some at a time.

    Raises:
        InputError: if the package for it is not installed, or the table cannot be read.
    """
    kind = lake_kind(path)
    assert kind is not None
    if importlib.util.find_spec(_MODULES[kind]) is None:
        raise InputError(
            f"{path}: a table of {kind.capitalize()}, and {_MODULES[kind]} is not installed.",
            f"Install the extra: `pip install 'nightreel[{kind}]'`.",
        )
    # The extra has pyiceberg; Polars would warn that a package of its own plans faster.
    os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")
    frame = pl.scan_delta(str(path)) if kind == DELTA else pl.scan_iceberg(str(_metadata(path)[-1]))
    names = frame.collect_schema().names()
    return names, frame.collect_batches(chunk_size=_ROWS_AT_A_TIME, maintain_order=True)


def _metadata(path: Path) -> list[Path]:
    """The versions of an Iceberg table's metadata, the newest last."""
    found = [one for one in (path / "metadata").glob("*.metadata.json") if one.is_file()]
    return sorted(found, key=lambda one: (one.stat().st_mtime_ns, one.name))
