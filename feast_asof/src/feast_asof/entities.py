"""The left side of the join: the caller's entity dataframe."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from feast.errors import EntityTimestampInferenceException
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from feast_asof.errors import AsOfError
from feast_asof.keys import is_untyped
from feast_asof.parquet import open_parquet
from feast_asof.reading import in_one_chunk, read_table
from feast_asof.schemas import common_type, without_views
from feast_asof.times import Instants, read_instants
from feast_asof.views import JoinedView

EVENT_TIMESTAMP = "event_timestamp"
# Text that looks like a statement: a comment, or words separated by spaces, without a file's ending.
_STATEMENT = re.compile(r"\s*(--|/\*|\(|(?!.*\.\w+\s*$)[A-Za-z]+;?\s+\S)", re.DOTALL)
_SHOWN_CHARACTERS = 60


class Entities:
    """The entity rows of a join. Columns and row count are known at once; rows are read when asked for.

    Attributes:
        what: how errors name it.
        schema: of its columns.
        dataset: the parquet that rows are read from; None if they are in memory.
    """

    def __init__(
        self,
        what: str,
        source: pa.Table | ds.Dataset,
        *,
        time_column: str | None,
        times: Instants | None = None,
    ) -> None:
        self.what = what
        self.schema: pa.Schema = source.schema
        self.time_column = time_column
        self.dataset = None if isinstance(source, pa.Table) else source
        self.num_rows = int(source.num_rows if self.dataset is None else source.count_rows())
        self._table = source if self.dataset is None else None
        self._times = times

    @classmethod
    def of(cls, entity_df: object) -> "Entities":
        """From the caller's entity dataframe: pandas, Polars, Arrow, or a path to parquet.

        Times in memory are checked at once; times at a path when they are read; times of a frame without rows
        by `typed_as`.

        Raises:
            AsOfError: it is none of these, or has no time column.
        """
        what = "entity dataframe"
        source: pa.Table | ds.Dataset
        if isinstance(entity_df, str | Path):
            what = f"entity dataframe {entity_df}"
            source = _at_path(str(entity_df), what=what)
        else:
            source = _in_memory(entity_df, what=what)
        entities = cls(what, source, time_column=time_column(source.schema))
        # Without rows, the column of times may have no type yet: `typed_as` checks it.
        if entities.dataset is None and entities.num_rows:
            _ = entities.times
        return entities

    def typed_as(self, views: Sequence[JoinedView]) -> "Entities":
        """Give the columns of a frame without rows, whose types are unreliable, the types in `views`."""
        if self.num_rows:
            return self
        types = key_types(views)
        types.setdefault(str(self.time_column), pa.timestamp("us", tz="UTC"))
        fields = [
            field.with_type(types.get(field.name, field.type)) if is_untyped(field.type) else field
            for field in self.schema
        ]
        table = pa.schema(fields).empty_table()
        typed = Entities(self.what, table, time_column=self.time_column)
        _ = typed.times
        return typed

    @property
    def table(self) -> pa.Table:
        """All rows."""
        if self._table is None:
            assert self.dataset is not None
            # Times in one chunk are read in place, without a copy of the column.
            table = read_rows(self.dataset, what=self.what)
            self._table = in_one_chunk(table, [self.time_column] if self.time_column else [])
        return self._table

    @property
    def times(self) -> Instants:
        """Each row's instant. Raises AsOfError if the column is not a time."""
        if self._times is None:
            assert self.time_column is not None
            what = f"entity dataframe, column '{self.time_column}'"
            self._times = read_instants(self.table[self.time_column], what=what)
        return self._times

    def part(self, rows: slice) -> "Entities":
        """A slice of these rows."""
        start, stop, _ = rows.indices(self.num_rows)
        table = self.table.slice(start, max(stop - start, 0))
        return Entities(self.what, table, time_column=self.time_column, times=self.times[rows])


def _at_path(path: str, *, what: str) -> ds.Dataset:
    """The parquet at a path. Raises AsOfError where there is none, or where the text reads like SQL."""
    try:
        return open_parquet(path, what=what)
    except AsOfError:
        if not _STATEMENT.match(path):
            raise
        said = " ".join(path.split())
        shown = said if len(said) <= _SHOWN_CHARACTERS else f"{said[:_SHOWN_CHARACTERS]}..."
        raise AsOfError(
            f"entity dataframe: {shown!r} is neither a path to parquet nor a query, "
            "which begins with SELECT, WITH, FROM or VALUES."
        ) from None


def _in_memory(entity_df: object, *, what: str) -> pa.Table:
    """Rows of any library as an Arrow table. Raises AsOfError if it is no table or repeats a column."""
    if isinstance(entity_df, pd.DataFrame):
        _require_distinct([str(name) for name in entity_df.columns])
        try:
            table = pa.Table.from_pandas(entity_df, preserve_index=False).replace_schema_metadata(None)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise AsOfError(f"{what}: a column holds mixed types: {error}") from None
    else:
        if type(entity_df).__module__.startswith("polars.") and hasattr(entity_df, "collect"):
            entity_df = entity_df.collect()
        if not hasattr(entity_df, "__arrow_c_stream__"):
            kind = type(entity_df).__name__
            raise AsOfError(
                f"{what}: is a {kind}; give a table of pandas, Polars or Arrow, a path to parquet, or SQL."
            )
        table = entity_df if isinstance(entity_df, pa.Table) else pa.table(entity_df)
        _require_distinct(table.column_names)
    plain = pa.schema([field.with_type(without_views(field.type)) for field in table.schema])
    return table if plain.equals(table.schema) else table.cast(plain)


def read_rows(dataset: ds.Dataset, *, what: str) -> pa.Table:
    """All rows of a dataset. Raises AsOfError, naming `what` they are, if they cannot be read."""
    try:
        return read_table(dataset)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise AsOfError(f"{what}: cannot be read: {error}") from None


def _require_distinct(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AsOfError(f"entity dataframe: has more than one column of the name {', '.join(twice)}.")


def time_column(schema: pa.Schema) -> str:
    """The event timestamp column, found as Feast does. Raises AsOfError if there is none."""
    if EVENT_TIMESTAMP in schema.names:
        return EVENT_TIMESTAMP
    kinds = {
        field.name: np.dtype("datetime64[us]") if pa.types.is_timestamp(field.type) else np.dtype(object)
        for field in schema
    }
    try:
        return str(infer_event_timestamp_from_entity_df(kinds))
    except EntityTimestampInferenceException:
        has = ", ".join(schema.names)
        raise AsOfError(
            f"entity dataframe: needs a column '{EVENT_TIMESTAMP}', or one timestamp column; it has {has}."
        ) from None


def key_types(views: Sequence[JoinedView]) -> dict[str, pa.DataType]:
    """The key columns, in types that hold every view's keys. Raises AsOfError if there is no such type."""
    types: dict[str, pa.DataType] = {}
    for view in views:
        for key, column in view.keys.items():
            kind = view.source.type_of(key)
            known = types.get(column, kind)
            common = common_type(known, kind)
            if common is None:
                raise AsOfError(
                    f"{view.source.what}: key column '{column}' is {kind} in {view.source.path}, "
                    f"but {known} in another view's source; cast one of them."
                )
            types[column] = kind if known == kind else common
    return types


def instant(microsecond_utc: int) -> datetime:
    """The aware datetime of microseconds since 1970 UTC."""
    aware: datetime = pd.Timestamp(int(microsecond_utc), unit="us", tz="UTC").to_pydatetime()
    return aware
