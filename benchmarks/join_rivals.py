"""The same join by Polars' join_asof and by DuckDB's ASOF JOIN: what can be written without a feature store.

Both keep all columns and give an Arrow table. Neither restores the order of the entity rows, which DuckDB
loses, and Polars keeps as they come in order of time.
"""

from pathlib import Path

import pyarrow as pa

from benchmarks.join_world import VIEWS


def join_polars(folder: Path, entities: Path) -> pa.Table:
    """One join_asof a view. Entity rows are in order of time already, sources are sorted by it here."""
    import polars as pl

    joined = pl.read_parquet(entities).set_sorted("event_timestamp")
    for view, (key, _, _) in VIEWS.items():
        source = pl.read_parquet(folder / f"{view}.parquet").sort("event_timestamp")
        joined = joined.join_asof(
            source, on="event_timestamp", by=key, strategy="backward", check_sortedness=False
        )
    return joined.to_arrow()


def join_duckdb(folder: Path, entities: Path) -> pa.Table:
    """One query of five ASOF joins."""
    import duckdb

    joins, columns = [], ["entities.*"]
    for view, (key, _, features) in VIEWS.items():
        columns += [f"{view}.{view}_{feature}" for feature in range(features)]
        joins.append(
            f"ASOF LEFT JOIN read_parquet('{folder / view}.parquet') {view} ON entities.{key} = {view}.{key} "
            f"AND entities.event_timestamp >= {view}.event_timestamp"
        )
    sql = f"SELECT {', '.join(columns)} FROM read_parquet('{entities}') entities {' '.join(joins)}"
    with duckdb.connect() as connection:
        table: pa.Table = connection.execute(sql).to_arrow_table()
    return table


RIVALS = {"polars": join_polars, "duckdb-asof": join_duckdb}
