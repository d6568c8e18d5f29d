"""Rows into the table and back as fast as the database can: COPY on PostgreSQL, executemany on SQLite."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import psycopg
from sqlalchemy import Connection, Text, bindparam, func, select

from nightreel.core import columns
from nightreel.core.ids import INTEGERS, ListIds
from scoring.database.connection import SQLITE
from scoring.database.tables import recommendation
from scoring.lists.rows import Lists

# Columns that are never null, with their binary type in COPY, big-endian; run_id comes from the caller.
_KEYS = ((columns.RUN_ID, ">i4"), (columns.USER_ID, ">i8"), (columns.RANK, ">i4"), (columns.VIDEO_ID, ">i8"))
_FLOATS = (
    columns.SCORE,
    columns.CLASSIFIER_SCORE,
    columns.REGRESSOR_SCORE,
    columns.ALS_SCORE,
    columns.PROPENSITY,
)
_TEXTS = (columns.SOURCE, columns.CANDIDATE_SOURCES, columns.RULE, columns.ARM)
_NAMES = (*(name for name, _ in _KEYS), *_FLOATS, *_TEXTS)
_COPY = f"COPY {columns.RECOMMENDATION} ({', '.join(_NAMES)}) FROM STDIN (FORMAT BINARY)"
_INSERT = (
    f"INSERT INTO {columns.RECOMMENDATION} ({', '.join(_NAMES)}) VALUES ({', '.join('?' for _ in _NAMES)})"
)
_COPY_TEXT = _COPY.replace("BINARY", "CSV")
# File header of PostgreSQL's binary COPY: signature, flags, length of the extension; and its trailer.
_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"


def insert_lists(connection: Connection, run_id: int, lists: Lists, ids: ListIds = INTEGERS) -> None:
    """Add the rows to a run, in the connection's transaction. NaN and empty texts become null.

    Args:
        ids: the log's ids by code, if the home's ids are text.
    """
    raw = connection.connection.driver_connection
    if connection.dialect.name == SQLITE:
        users, videos = ids.user.outward(lists.user_id), ids.video.outward(lists.video_id)
        numbers = (column.tolist() for column in _floats(lists))
        values = ([run_id] * len(lists), users, lists.rank.tolist(), videos, *numbers)
        texts = ([text or None for text in column.tolist()] for column in _texts(lists))
        # SQLite itself stores NaN as null.
        assert isinstance(raw, sqlite3.Connection)
        raw.executemany(_INSERT, zip(*values, *texts, strict=True))
        return
    assert isinstance(raw, psycopg.Connection)
    if ids.user.is_text or ids.video.is_text:
        with raw.cursor() as cursor, cursor.copy(_COPY_TEXT) as copy:
            copy.write(_csv_rows(run_id, lists, ids))
        return
    with raw.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.write(_COPY_HEADER)
        for piece in _binary_rows(run_id, lists):
            copy.write(piece)
        copy.write(_COPY_TRAILER)


def _csv_rows(run_id: int, lists: Lists, ids: ListIds) -> bytes:
    """The rows in PostgreSQL's CSV, in which texts have quotes and nulls are empty."""
    floats = {
        name: pl.Series(values).fill_nan(None) for name, values in zip(_FLOATS, _floats(lists), strict=True)
    }
    texts = {name: pl.Series(values.tolist()) for name, values in zip(_TEXTS, _texts(lists), strict=True)}
    rows = pl.DataFrame(
        {
            columns.RUN_ID: pl.repeat(run_id, len(lists), eager=True),
            columns.USER_ID: pl.Series(ids.user.outward(lists.user_id)),
            columns.RANK: lists.rank,
            columns.VIDEO_ID: pl.Series(ids.video.outward(lists.video_id)),
            **floats,
            **{name: pl.select(pl.when(text != "").then(text)).to_series() for name, text in texts.items()},
        }
    )
    return rows.write_csv(include_header=False, quote_style="non_numeric", null_value="").encode()


def _floats(lists: Lists) -> tuple[np.ndarray, ...]:
    return tuple(getattr(lists, name) for name in _FLOATS)


def _texts(lists: Lists) -> tuple[np.ndarray, ...]:
    # What comes from a parquet file is an array of objects. All names are ASCII.
    return tuple(getattr(lists, name).astype(np.str_) for name in _TEXTS)


def _binary_rows(run_id: int, lists: Lists) -> Iterator[bytes]:
    """The rows in PostgreSQL's binary COPY format, rows of one shape together.

    A row is the number of its fields, then each field's length and bytes; null is the length -1 alone. Rows
    with the same nulls and texts of the same lengths are equally long, so that NumPy lays them out at once.
    """
    floats = _floats(lists)
    is_null = np.column_stack([np.isnan(values) for values in floats])
    texts = [values.astype(np.bytes_) for values in _texts(lists)]
    lengths = [np.strings.str_len(values) for values in texts]
    shape = is_null @ 2 ** np.arange(len(floats))
    for of_text in lengths:
        shape = shape * (of_text.max(initial=0) + 1) + of_text
    for code in np.unique(shape):
        rows = np.flatnonzero(shape == code)
        null = is_null[rows[0]]
        long = [int(of_text[rows[0]]) for of_text in lengths]
        record = np.empty(len(rows), dtype=_record_type(null, long))
        record["fields"] = len(_NAMES)
        keys = (np.int32(run_id), lists.user_id[rows], lists.rank[rows], lists.video_id[rows])
        for (name, kind), values in zip(_KEYS, keys, strict=True):
            record[f"length of {name}"] = np.dtype(kind).itemsize
            record[name] = values
        for name, values, absent in zip(_FLOATS, floats, null, strict=True):
            record[f"length of {name}"] = -1 if absent else 8
            if not absent:
                record[name] = values[rows]
        for name, values, length in zip(_TEXTS, texts, long, strict=True):
            record[f"length of {name}"] = length or -1
            if length:
                record[name] = values[rows]
        yield record.tobytes()


def _record_type(null: np.ndarray, text_bytes: Sequence[int]) -> np.dtype:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in _KEYS:
        fields += [(f"length of {name}", ">i4"), (name, kind)]
    for name, absent in zip(_FLOATS, null, strict=True):
        fields += [(f"length of {name}", ">i4")] + ([] if absent else [(name, ">f8")])
    for name, length in zip(_TEXTS, text_bytes, strict=True):
        fields += [(f"length of {name}", ">i4")] + ([(name, f"S{length}")] if length else [])
    return np.dtype(fields)


_READ_AS = (np.int64, np.int32, np.int64, *(np.float64 for _ in _FLOATS), *(np.str_ for _ in _TEXTS))
_OF_RUN = select(
    *(recommendation.c[name] for name in _NAMES[1:] if name not in _TEXTS),
    *(func.coalesce(recommendation.c[name], "") for name in _TEXTS),
).where(recommendation.c[columns.RUN_ID] == bindparam("run"))
_READ = _OF_RUN.where(
    recommendation.c[columns.USER_ID].between(bindparam("first"), bindparam("last"))
).order_by(recommendation.c[columns.USER_ID], recommendation.c[columns.RANK])
_READ_TEXT = _OF_RUN.where(
    recommendation.c[columns.USER_ID].in_(bindparam("users", type_=Text(), expanding=True))
)
_USERS_AT_A_TIME = 4_096
# The code of a video that the home does not know: of none.
_UNKNOWN = np.iinfo(np.int64).min


def read_lists(
    connection: Connection, run_id: int, first_user: int, last_user: int, ids: ListIds = INTEGERS
) -> Lists:
    """A run's rows for a range of user ids, both ends included, by user and rank.

    Args:
        ids: if the home's ids are text, the range is of their codes; users without a code are in no range.
    """
    if ids.user.is_text or ids.video.is_text:
        return _read_text(connection, run_id, ids, first_user, last_user)
    rows = connection.execute(_READ, {"run": run_id, "first": first_user, "last": last_user}).all()
    return _lists(rows)


def _read_text(connection: Connection, run_id: int, ids: ListIds, first_user: int, last_user: int) -> Lists:
    if ids.user.is_text:
        codes = ids.user.codes_between(first_user, last_user)
        code_of: dict[Any, int] = dict(zip(ids.user.outward(codes), codes.tolist(), strict=True))
        users = list(code_of)
        rows: list[Any] = []
        for start in range(0, len(users), _USERS_AT_A_TIME):
            part = {"run": run_id, "users": users[start : start + _USERS_AT_A_TIME]}
            rows += connection.execute(_READ_TEXT, part).all()
        rows = [(code_of[user], *rest) for user, *rest in rows]
    else:
        rows = list(connection.execute(_READ, {"run": run_id, "first": first_user, "last": last_user}).all())
    videos = ids.video.codes_of(dict.fromkeys(row[2] for row in rows))
    rows = [(user, rank, videos.get(video, _UNKNOWN), *rest) for user, rank, video, *rest in rows]
    return _lists(sorted(rows, key=lambda row: row[:2]))


def _lists(rows: Sequence[Any]) -> Lists:
    values = zip(*rows, strict=True) if rows else [()] * len(_READ_AS)
    arrays = (np.array(column, dtype=kind) for column, kind in zip(values, _READ_AS, strict=True))
    return Lists(**dict(zip(_NAMES[1:], arrays, strict=True)))


def row_count(connection: Connection, run_id: int) -> int:
    """Number of rows of a run."""
    of_run = recommendation.c[columns.RUN_ID] == run_id
    return int(
        connection.execute(select(func.count()).select_from(recommendation).where(of_run)).scalar_one()
    )
