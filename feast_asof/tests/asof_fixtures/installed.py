"""What is installed beside the package, and marks for tests that need more than that."""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import feast
import pytest
from packaging.version import Version

FEAST = Version(feast.__version__)
# Feast's DuckDB store is the reference; before 0.67 it confuses the keys (1, 23) and (12, 3).
HAS_REFERENCE = find_spec("ibis") is not None and find_spec("duckdb") is not None and Version("0.67") <= FEAST
NO_REFERENCE = "compared with Feast's DuckDB store: pip install 'feast[duckdb]>=0.67'"
EXTRAS = {
    "boto3": "s3",
    "deltalake": "delta",
    "duckdb": "sql",
    "moto": "test-s3",
    "polars": "test-polars",
    "pyiceberg": "iceberg",
    "ray": "ray",
}

needs_reference = pytest.mark.skipif(not HAS_REFERENCE, reason=NO_REFERENCE)
HAS_CREATED_FILTER = Version("0.66") <= FEAST
needs_created_filter = pytest.mark.skipif(
    not HAS_CREATED_FILTER, reason="filter_by_created_timestamp came with Feast 0.66"
)


def with_fixtures() -> dict[str, str]:
    """The environment of a process that imports what the tests share."""
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def created_filter(asked: bool) -> dict[str, bool]:
    """The option of get_historical_features, where Feast has it."""
    return {"filter_by_created_timestamp": asked} if HAS_CREATED_FILTER else {}


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skips a test where a module of an extra is missing."""
    missing = [EXTRAS[module] for module in modules if find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"pip install 'feast-asof[{','.join(missing)}]'")


def module_or_skip(module: str) -> None:
    """Skips the whole file where a module of an extra is missing."""
    if find_spec(module) is None:
        pytest.skip(f"pip install 'feast-asof[{EXTRAS[module]}]'", allow_module_level=True)


def iceberg_or_skip() -> tuple[Any, Any]:
    """`load_catalog` and Feast's `IcebergSource`; skips the test where there is none of the two."""
    if find_spec("pyiceberg") is None:
        pytest.skip(f"pip install 'feast-asof[{EXTRAS['pyiceberg']}]'")
    source = "feast.infra.data_sources.contrib.iceberg_catalog.iceberg_source"
    feasts = pytest.importorskip(source, reason="Iceberg sources came with Feast 0.65")
    return import_module("pyiceberg.catalog").load_catalog, feasts.IcebergSource
