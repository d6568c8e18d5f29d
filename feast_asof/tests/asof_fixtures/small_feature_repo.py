"""Small Feast repositories over parquet, opened with any offline store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, String

from asof_fixtures.installed import HAS_REFERENCE, NO_REFERENCE

ASOF = "feast_asof.AsOfOfflineStore"
DUCKDB = "duckdb"


@dataclass(frozen=True)
class View:
    """A feature view and the rows of its source.

    keys: join keys, empty for a view without entities. rows: a frame with the keys, event_timestamp, the
    features, and `created` where created is set. Text features are declared in `text`.
    """

    name: str
    keys: Sequence[str]
    features: Sequence[str]
    rows: pd.DataFrame
    ttl: timedelta = timedelta()
    created: bool = False
    text: Sequence[str] = ()
    field_mapping: tuple[tuple[str, str], ...] = ()


def rows_of(columns: str, *rows: Sequence[Any]) -> pd.DataFrame:
    """A small frame; `event_timestamp` and `created` are written as text, and are UTC without a zone."""
    frame = pd.DataFrame(list(rows), columns=columns.split())
    for name in {"event_timestamp", "created"} & set(frame.columns):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.as_unit("us")
    return frame


def write_parquet(frame: pd.DataFrame | pa.Table, path: Path) -> Path:
    """Write a frame as parquet with microsecond timestamps, as Feast's DuckDB store needs them."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, path, coerce_timestamps="us", allow_truncated_timestamps=True)
    return path


def open_store(
    folder: Path, views: Iterable[View], *, offline_store: str = ASOF, text_keys: Sequence[str] = ()
) -> FeatureStore:
    """Write the sources below `folder`, apply the views, and return the real FeatureStore.

    Skips the test that asks for a reference that is not installed.
    """
    if offline_store == DUCKDB and not HAS_REFERENCE:
        pytest.skip(NO_REFERENCE)
    folder.mkdir(parents=True, exist_ok=True)
    entities: dict[str, Entity] = {}
    applied: list[FeatureView] = []
    for view in views:
        path = folder / f"{view.name}.parquet"
        if not path.exists():
            write_parquet(view.rows, path)
        for key in view.keys:
            kind = ValueType.STRING if key in text_keys else ValueType.INT64
            entities.setdefault(key, Entity(name=key, join_keys=[key], value_type=kind))
        applied.append(
            FeatureView(
                name=view.name,
                entities=[entities[key] for key in view.keys],
                ttl=view.ttl,
                schema=[
                    Field(name=feature, dtype=String if feature in view.text else Float64)
                    for feature in view.features
                ],
                source=FileSource(
                    name=f"{view.name}_source",
                    path=str(path),
                    timestamp_field="event_timestamp",
                    created_timestamp_column="created" if view.created else "",
                    field_mapping=dict(view.field_mapping),
                ),
            )
        )
    home = home_of(folder, offline_store)
    home.mkdir(exist_ok=True)
    store = FeatureStore(
        config=RepoConfig(
            project="small",
            provider="local",
            registry=str(home / "registry.db"),
            online_store={"type": "sqlite", "path": str(home / "online.db")},
            offline_store={"type": offline_store},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    store.apply([*entities.values(), *applied])
    return store


def home_of(folder: Path, offline_store: str) -> Path:
    """Paths of the registry and the online store of a repository in `folder`."""
    return folder / offline_store.replace(".", "_")


def references_to(views: Iterable[View]) -> list[str]:
    """Every feature of every view, as Feast refers to it."""
    return [f"{view.name}:{feature}" for view in views for feature in view.features]


def joined_as_duckdb_does(
    folder: Path,
    views: Sequence[View],
    entities: pd.DataFrame,
    *,
    text_keys: Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Our join of all features, after seeing Feast's own DuckDB store give the same columns and values.

    Where that store is not installed, our join alone: the caller knows the values, too. Rows keep the
    caller's order with us and have none in DuckDB, so a column `row` numbers them.
    options: those of get_historical_features.
    """
    entities = entities.assign(row=range(len(entities)))

    def joined_by(offline_store: str) -> pd.DataFrame:
        store = open_store(folder, views, offline_store=offline_store, text_keys=text_keys)
        return store.get_historical_features(
            entity_df=entities, features=references_to(views), **options
        ).to_df()

    ours = joined_by(ASOF)
    assert ours["row"].tolist() == entities["row"].tolist()
    if HAS_REFERENCE:
        assert_same_rows(ours, joined_by(DUCKDB))
    return ours.drop(columns="row")


def assert_same_rows(ours: pd.DataFrame, oracle: pd.DataFrame) -> None:
    """The same columns in the same order, and the same values by the column `row`."""
    ours, oracle = (frame.sort_values("row").reset_index(drop=True) for frame in (ours, oracle))
    pd.testing.assert_frame_equal(ours, oracle, check_dtype=False)


def values(column: pd.Series) -> list[Any]:
    """A column as a list, None where it is null."""
    return [None if pd.isna(value) else value for value in column]
