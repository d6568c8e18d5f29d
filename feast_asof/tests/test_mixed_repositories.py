"""Random repositories of all that the store accepts at once, against an oracle that walks every row.

Each draws its views, the types of their keys and times, where their rows are (a file, a folder of files that
differ, `key=value` folders, a pattern, a Delta or an Iceberg table), and what the entity rows come as.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.types import Float64
from feast.types import Int64 as WholeNumber
from feast.types import String as Text

from asof_fixtures.installed import HAS_CREATED_FILTER, created_filter, iceberg_or_skip, module_or_skip
from asof_fixtures.small_feature_repo import open_store

BASE_NS = int(datetime(2020, 7, 5, tzinfo=UTC).timestamp()) * 10**9
SECOND, DAY = 10**9, 86_400 * 10**9
OFFSETS_NS = [0, 1000, 2000, SECOND - 1000, SECOND, SECOND + 1000, 3600 * SECOND, DAY, 2 * DAY]
TTLS = [timedelta(), timedelta(microseconds=1), timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)]
WHOLE_TYPES = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64(),
    pa.decimal128(20, 0), pa.decimal128(9, 2),
]  # fmt: skip
TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
TIME_TYPES = [
    pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("ns"),
    pa.timestamp("us", "Asia/Tokyo"), pa.string(), pa.date32(),
]  # fmt: skip
VALUES_OF = {"user": [1, 12, 123, 23, 3], "tag": ["a", "ab", "b", "视频", "a b"]}
# Types that tables have.
TABLE_TYPES = {
    "user": [pa.int32(), pa.int64(), pa.decimal128(9, 2)],
    "tag": [pa.string()],
    "time": [pa.timestamp("us", "UTC")],
}
STORAGES = ["file", "folder", "partitions", "pattern", "delta", "delta vectors", "iceberg"]


@dataclass
class Row:
    """One row of a source, whatever it is written as."""

    keys: dict[str, Any]
    at_ns: int
    made_ns: int
    value: float | None


@dataclass
class Drawn:
    """A view: what the oracle has to know of it."""

    name: str
    keys: list[str]
    ttl: timedelta
    created: bool
    rows: list[Row] = field(default_factory=list)
    # How many nanoseconds its times can tell apart.
    grain_ns: int = 1000


def _grain(kind: pa.DataType) -> int:
    if pa.types.is_date(kind):
        return DAY
    return 1 if pa.types.is_timestamp(kind) and kind.unit == "ns" else 1000


def _times(instants_ns: list[int], kind: pa.DataType) -> pa.Array:
    """Instants as a column of any type; all whole in what it can tell apart."""
    if pa.types.is_string(kind):
        moments = [datetime.fromtimestamp(at // SECOND, UTC) for at in instants_ns]
        fractions = [f"{at % SECOND // 1000:06d}" for at in instants_ns]
        pairs = zip(moments, fractions, strict=True)
        return pa.array([f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}" for moment, fraction in pairs], pa.string())
    ns = pa.array(instants_ns, pa.timestamp("ns", getattr(kind, "tz", None)))
    return ns.cast(kind)


def _keys(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else Decimal(value) for value in values], kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


def _draw_view(rng: random.Random, number: int, times: list[pa.DataType]) -> Drawn:
    name = f"view_{number}"
    keys = rng.choice([["user"], ["tag"], ["user", "tag"], []])
    drawn = Drawn(name, keys, rng.choice(TTLS), rng.random() < 0.5)
    drawn.grain_ns = max(map(_grain, times))
    seen = set()
    for _ in range(rng.randint(1, 14)):
        of = {key: rng.choice(VALUES_OF[key]) for key in keys}
        at = BASE_NS + rng.choice(OFFSETS_NS) + (rng.choice([0, 1]) if drawn.grain_ns == 1 else 0)
        at -= at % drawn.grain_ns
        made = BASE_NS + rng.choice(OFFSETS_NS)
        made -= made % drawn.grain_ns
        # Rows with the same key, time and created have no defined winner everywhere.
        if (identity := (*of.values(), at, made if drawn.created else 0)) not in seen:
            seen.add(identity)
            drawn.rows.append(Row(of, at, made, rng.choice([None, *map(float, range(9))])))
    return drawn


def _table(
    rows: list[Row], drawn: Drawn, types: dict[str, pa.DataType], value_type: pa.DataType | None
) -> pa.Table:
    """The rows as columns under the names of the source; without the feature where it has no type."""
    columns = {f"s_{key}": _keys([row.keys[key] for row in rows], types[key]) for key in drawn.keys}
    columns["s_at"] = _times([row.at_ns for row in rows], types["time"])
    columns["s_made"] = _times([row.made_ns for row in rows], types["time"])
    if value_type is not None:
        floats = pa.array([row.value for row in rows], pa.float64())
        columns["s_value"] = floats.cast(value_type)
    return pa.table(columns)


def _types(rng: random.Random, storage: str) -> dict[str, pa.DataType]:
    if "delta" in storage or storage == "iceberg":
        return {name: rng.choice(kinds) for name, kinds in TABLE_TYPES.items()}
    if storage == "partitions":  # Arrow writes no views there, and a decimal's name is text to it
        return {"user": pa.int64(), "tag": pa.string(), "time": rng.choice(TIME_TYPES)}
    return {"user": rng.choice(WHOLE_TYPES), "tag": rng.choice(TEXT_TYPES), "time": rng.choice(TIME_TYPES)}


def _write_files(rng: random.Random, folder: Path, drawn: Drawn, types: dict[str, pa.DataType]) -> None:
    """Up to three files, whose types differ; a file without the feature has nulls."""
    folder.mkdir()
    cuts = sorted(rng.sample(range(len(drawn.rows) + 1), min(2, len(drawn.rows))))
    parts = [drawn.rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(drawn.rows)], strict=True)]
    for number, part in enumerate(parts):
        of_part = dict(types)
        if rng.random() < 0.5:
            of_part["user"] = rng.choice(WHOLE_TYPES)
        if pa.types.is_timestamp(types["time"]) and rng.random() < 0.5:
            candidates = [kind for kind in TIME_TYPES if pa.types.is_timestamp(kind)]
            of_part["time"] = rng.choice([kind for kind in candidates if _grain(kind) <= drawn.grain_ns])
        value_type = rng.choice([pa.float64(), pa.float32(), pa.int16(), pa.int64(), None])
        if value_type is None and number == 0 == len(parts) - 1:
            value_type = pa.float64()
        if value_type is None:
            for row in part:
                row.value = None
        pq.write_table(_table(part, drawn, of_part, value_type), folder / f"{number}.parquet")
    # One of them has the feature, or nobody could ask for it.
    last = _table(drawn.rows[:0], drawn, types, pa.float64())
    pq.write_table(last, folder / "last.parquet")


def _write(
    rng: random.Random, folder: Path, drawn: Drawn, storage: str, types: dict[str, pa.DataType]
) -> DataSource:
    mapping = {"s_at": "at", "s_made": "made", "s_value": f"{drawn.name}_value"}
    options: dict[str, Any] = {
        "name": f"{drawn.name}_source",
        "timestamp_field": "at",
        "created_timestamp_column": "made" if drawn.created else "",
        "field_mapping": mapping | {f"s_{key}": key for key in drawn.keys},
    }
    path = folder / drawn.name
    if storage in ("folder", "pattern"):
        _write_files(rng, path, drawn, types)
        return FileSource(path=str(path / "*.parquet" if storage == "pattern" else path), **options)
    table = _table(drawn.rows, drawn, types, pa.float64())
    if storage == "partitions" and drawn.keys:
        pq.write_to_dataset(table, str(path), partition_cols=[f"s_{drawn.keys[0]}"])
        return FileSource(path=str(path), **options)
    if "delta" in storage:
        return _as_delta(path, table, options, vectors="vectors" in storage)
    if storage == "iceberg":
        return _as_iceberg(folder, drawn.name, table, options)
    pq.write_table(table, f"{path}.parquet")
    return FileSource(path=f"{path}.parquet", **options)


def _with_junk(table: pa.Table) -> pa.Table:
    """Twice the rows: those marked as junk have other values, and are deleted again."""
    position = table.schema.get_field_index("s_value")
    other = table.set_column(position, "s_value", pa.array([-1.0] * table.num_rows))
    marks = [pa.array([mark] * table.num_rows) for mark in (False, True)]
    both = [part.append_column("junk", mark) for part, mark in zip((table, other), marks, strict=True)]
    return pa.concat_tables(both)


def _as_delta(path: Path, table: pa.Table, options: dict[str, Any], *, vectors: bool) -> DataSource:
    module_or_skip("deltalake")
    from deltalake import DeltaTable, write_deltalake

    configuration = {"delta.enableDeletionVectors": "true"} if vectors else None
    write_deltalake(str(path), _with_junk(table), configuration=configuration)
    DeltaTable(str(path)).delete("junk")
    return FileSource(path=str(path), file_format=DeltaFormat(), **options)


def _as_iceberg(folder: Path, name: str, table: pa.Table, options: dict[str, Any]) -> DataSource:
    load_catalog, iceberg_source = iceberg_or_skip()
    warehouse = folder / "warehouse"
    warehouse.mkdir(exist_ok=True)
    uri = f"sqlite:///{folder / 'catalog.db'}"
    catalog = load_catalog("mixed", type="sql", uri=uri, warehouse=f"file://{warehouse}")
    catalog.create_namespace_if_not_exists("shop")
    rows = _with_junk(table)
    made = catalog.create_table(f"shop.{name}", schema=rows.schema)
    made.append(rows)
    made.delete("junk = true")
    return iceberg_source(
        namespace="shop",
        table=name,
        catalog_type="sql",
        catalog_name="mixed",
        warehouse=f"file://{warehouse}",
        catalog_properties={"uri": uri},
        **options,
    )


def _view(drawn: Drawn, source: DataSource, entities: dict[str, Entity]) -> FeatureView:
    kinds = {"user": WholeNumber, "tag": Text}
    return FeatureView(
        name=drawn.name,
        entities=[entities[key] for key in drawn.keys],
        ttl=drawn.ttl,
        schema=[
            *(Field(name=key, dtype=kinds[key]) for key in drawn.keys),
            Field(name=f"{drawn.name}_value", dtype=Float64),
        ],
        source=source,
    )


def oracle(drawn: Drawn, keys: dict[str, Any], at_ns: int, *, filter_by_created: bool) -> float | None:
    """The newest value known at an instant, by walking all rows."""
    best: tuple[tuple[int, int], float | None] | None = None
    ttl_ns = drawn.ttl // timedelta(microseconds=1) * 1000
    for row in drawn.rows:
        if any(keys[key] is None or row.keys[key] != keys[key] for key in drawn.keys) or row.at_ns > at_ns:
            continue
        if ttl_ns and row.at_ns + ttl_ns < at_ns:
            continue
        if filter_by_created and drawn.created and row.made_ns > at_ns:
            continue
        order = (row.at_ns, row.made_ns if drawn.created else 0)
        if best is None or order > best[0]:
            best = (order, row.value)
    return None if best is None else best[1]


def _asked(rng: random.Random, kind: str) -> tuple[pa.Table, list[tuple[dict[str, Any], int]]]:
    """Entity rows as an Arrow table, and as keys and instants."""
    types = {
        "user": rng.choice(WHOLE_TYPES),
        "tag": rng.choice(TEXT_TYPES),
        "time": rng.choice(TIME_TYPES[:5] if kind != "sql" else TIME_TYPES[:2]),
    }
    grain = _grain(types["time"])
    rows = []
    for _ in range(rng.choice([0, 1, 5, 20])):
        keys = {key: rng.choice(values) for key, values in VALUES_OF.items()}
        if kind not in ("pandas", "sql") and rng.random() < 0.1:
            keys[rng.choice(["user", "tag"])] = None
        at = BASE_NS + rng.choice(OFFSETS_NS) + (rng.choice([0, 1, -1]) if grain == 1 else 0)
        rows.append((keys, at))
    table = pa.table(
        {
            "row": pa.array(range(len(rows)), pa.int64()),
            "user": _keys([keys["user"] for keys, _ in rows], types["user"]),
            "event_timestamp": _times([at for _, at in rows], types["time"]),
            "tag": _keys([keys["tag"] for keys, _ in rows], types["tag"]),
        }
    )
    return table, rows


def _given(rng: random.Random, kind: str, table: pa.Table, folder: Path) -> Any:
    path = folder / "asked.parquet"
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        module_or_skip("polars")
        import polars as pl

        return pl.from_arrow(table)
    if kind == "chunks":
        return pa.concat_tables([table.slice(0, 2), table.slice(2)])
    if kind == "folder":
        (folder / "asked").mkdir()
        pq.write_table(table.slice(0, 3), folder / "asked" / "a.parquet")
        rest = table.slice(3).append_column("late", pa.nulls(max(table.num_rows - 3, 0), pa.string()))
        pq.write_table(rest, folder / "asked" / "b.parquet")
        return folder / "asked"
    pq.write_table(table, path)
    if kind == "sql":
        module_or_skip("duckdb")
    return f"SELECT * FROM '{path.name}'" if kind == "sql" else str(path)


def run(seed: int, folder: Path) -> None:
    """One repository: draw it, join, and compare each value with the oracle's."""
    rng = random.Random(seed)
    store = open_store(folder, [])
    entities = {
        "user": Entity(name="user", join_keys=["user"], value_type=ValueType.INT64),
        "tag": Entity(name="tag", join_keys=["tag"], value_type=ValueType.STRING),
    }
    views, definitions = [], []
    for number in range(rng.randint(1, 4)):
        storage = rng.choice(STORAGES)
        types = _types(rng, storage)
        drawn = _draw_view(rng, number, [types["time"]])
        definitions.append(_view(drawn, _write(rng, folder, drawn, storage, types), entities))
        views.append(drawn)
    store.apply([*entities.values(), *definitions])
    kind = rng.choice(["pandas", "polars", "chunks", "file", "folder", "sql"])
    table, rows = _asked(rng, kind)
    filter_by_created = rng.random() < 0.5 and HAS_CREATED_FILTER
    joined = store.get_historical_features(
        entity_df=_given(rng, kind, table, folder),
        features=[f"{view.name}:{view.name}_value" for view in views],
        **created_filter(filter_by_created),
    ).to_arrow()
    assert joined["row"].to_pylist() == list(range(len(rows)))
    for view in views:
        expected = [oracle(view, keys, at, filter_by_created=filter_by_created) for keys, at in rows]
        found = joined[f"{view.name}_value"].to_pylist()
        assert found == expected, (seed, view, kind)


@pytest.mark.parametrize("seed", range(30))
def test_every_value_is_the_oracles(seed: int, tmp_path: Path) -> None:
    """Whatever is mixed with whatever."""
    run(seed, tmp_path)
