"""The left side of the join where the caller gives none: every event of the views in a range of time."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
from feast.feature_view import FeatureView
from feast.utils import compute_non_entity_date_range

from feast_asof.entities import EVENT_TIMESTAMP, key_types
from feast_asof.times import Instants, Unit, one_chunk
from feast_asof.views import JoinedView

LOG = logging.getLogger(__name__)


def events_of_range(
    feature_views: Sequence[FeatureView],
    views: Sequence[JoinedView],
    start_date: datetime | None,
    end_date: datetime | None,
) -> pa.Table:
    """The events between two dates; Feast's defaults replace a date that is not given.

    Warns if a range with a default date has no events.
    """
    start, end = compute_non_entity_date_range(list(feature_views), start_date=start_date, end_date=end_date)
    events = events_between(views, start, end)
    # Feast itself fills in an end_date that is not given: here the two look the same.
    if events.num_rows == 0 and start_date is None:
        LOG.warning(
            "no entity dataframe and no start_date: Feast then asks for the events of the %s up to end_date "
            "(or now, without one), from %s to %s, and the views (%s) have none; "
            "give start_date, or both dates.",
            _days(end - start),
            start.isoformat(timespec="seconds"),
            end.isoformat(timespec="seconds"),
            ", ".join(view.name for view in views),
        )
    return events


def _days(length: timedelta) -> str:
    days = length / timedelta(days=1)
    return "day" if days == 1 else f"{days:g} days"


def events_between(views: Sequence[JoinedView], start: datetime, end: datetime) -> pa.Table:
    """Each distinct key and time at which a view has a row, from `start` to `end`, both included.

    Returns:
        Keys and time, ordered by time, then keys. A key that a view lacks is null in its events.
    """
    types = key_types(views)
    parts = []
    unit: Unit = "us"
    # Views that have the same events read them once.
    for view in {view.finds_as[:-1]: view for view in views}.values():
        table = view.source.read([*view.keys, view.timestamp_field])
        times = view.source.instants(table, view.timestamp_field)
        unit = "ns" if times.unit == "ns" else unit
        within = times.between(start, end)
        columns = {column: table[key].filter(pa.array(within)) for key, column in view.keys.items()}
        parts.append((columns, Instants(times.values[within], times.unit)))
    schema = pa.schema([*types.items(), (EVENT_TIMESTAMP, pa.timestamp(unit, tz="UTC"))])
    tables = [_as_events(columns, times, unit, schema) for columns, times in parts]
    events = pa.concat_tables(tables).combine_chunks().group_by(schema.names).aggregate([])
    return events.sort_by([(EVENT_TIMESTAMP, "ascending"), *((key, "ascending") for key in types)])


def _as_events(
    keys: Mapping[str, pa.ChunkedArray], times: Instants, unit: Unit, schema: pa.Schema
) -> pa.Table:
    columns = {**keys, EVENT_TIMESTAMP: times.to_arrow(unit)}
    part = pa.table(columns).group_by(list(columns)).aggregate([])
    return pa.table(
        {
            field.name: one_chunk(part[field.name]).cast(field.type)
            if field.name in columns
            else pa.nulls(part.num_rows, field.type)
            for field in schema
        }
    )
