"""Users' lists into the table and back: whole runs by columns, some users' rows one by one."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import URL, Connection, Text, bindparam, func, select

from nightreel.core import columns
from nightreel.core.ids import INTEGERS, Ids, ListIds
from scoring.database.bulk_rows import ReadyRows, StoredRows, whole_lists
from scoring.database.tables import recommendation
from scoring.lists.rows import Lists, distinct

_FLOATS = (
    columns.SCORE,
    columns.CLASSIFIER_SCORE,
    columns.REGRESSOR_SCORE,
    columns.ALS_SCORE,
    columns.PROPENSITY,
)
_TEXTS = (columns.SOURCE, columns.CANDIDATE_SOURCES, columns.RULE, columns.ARM)
_NAMES = (columns.USER_ID, columns.RANK, columns.VIDEO_ID, *_FLOATS, *_TEXTS)
# The code for an id that the home does not know.
UNKNOWN: Final = int(np.iinfo(np.int64).min)


def ready_lists(url: URL, run_id: int, blocks: Sequence[Lists], ids: ListIds = INTEGERS) -> ReadyRows:
    """Lay rows of a run out for the database. NaN and empty texts become null.

    Args:
        url: of the database.
        blocks: at least one.
        ids: the log's ids by code, if the home's ids are text.
    """
    rows = pa.concat_tables([_by_name(lists, ids) for lists in blocks])
    return ReadyRows.of(url, recommendation, run_id, rows)


def _by_name(lists: Lists, ids: ListIds) -> pa.Table:
    return pa.table(
        {
            columns.USER_ID: _outward(ids.user, lists.user_id),
            columns.RANK: pa.array(lists.rank, pa.int32()),
            columns.VIDEO_ID: _outward(ids.video, lists.video_id),
            **{name: pa.array(getattr(lists, name), pa.float64(), from_pandas=True) for name in _FLOATS},
            **{name: _text_or_null(getattr(lists, name)) for name in _TEXTS},
        }
    )


def _outward(ids: Ids, codes: np.ndarray) -> pa.Array:
    return ids.named(codes).to_arrow() if ids.is_text else pa.array(codes, pa.int64())


def _text_or_null(values: np.ndarray) -> pa.Array:
    empty = values == ""
    return pa.nulls(len(values), pa.string()) if empty.all() else pa.array(values, pa.string(), mask=empty)


def run_lists(connection: Connection, run_id: int, ids: ListIds = INTEGERS) -> Generator[Lists, None, None]:
    """All committed rows of a run, read once, in blocks of whole lists by user and rank.

    Blocks are in the order of the users' ids in the table. Ids that the home does not know have the code
    UNKNOWN. Close the generator if not all are read.
    """
    stored = StoredRows.of(recommendation, run_id, ids)
    with closing(whole_lists(connection, stored)) as blocks:
        for rows in blocks:
            yield _by_code(rows, ids)


def run_columns(
    connection: Connection, run_id: int, ids: ListIds, names: Sequence[str]
) -> Generator[pl.DataFrame, None, None]:
    """The same rows with some columns only, texts with their nulls, and without ids that the home lacks.

    Args:
        names: user_id, rank and video_id among them.
    """
    stored = StoredRows.of(recommendation, run_id, ids, names)
    with closing(whole_lists(connection, stored)) as blocks:
        for rows in blocks:
            codes = {
                name: _codes(of_name, rows[name])
                for name, of_name in ((columns.USER_ID, ids.user), (columns.VIDEO_ID, ids.video))
            }
            frame = pl.DataFrame(rows).with_columns(**{name: pl.Series(code) for name, code in codes.items()})
            yield frame.filter(pl.col(name) != UNKNOWN for name in codes).select(names)


def no_lists() -> Lists:
    """No rows."""
    return _by_code(StoredRows.of(recommendation, 0, INTEGERS).schema.empty_table(), INTEGERS)


def _by_code(rows: pa.Table, ids: ListIds) -> Lists:
    values = {name: rows[name].to_numpy() for name in (columns.RANK, *_FLOATS)}
    values |= {name: _texts(rows[name]) for name in _TEXTS}
    values[columns.USER_ID] = _codes(ids.user, rows[columns.USER_ID])
    values[columns.VIDEO_ID] = _codes(ids.video, rows[columns.VIDEO_ID])
    lists = Lists(**values)
    if ids.user.is_text:
        # Texts come in another order than their codes.
        return lists.rows(np.lexsort((lists.rank, lists.user_id)))
    return lists


def _codes(ids: Ids, column: pa.ChunkedArray) -> np.ndarray:
    if not ids.is_text:
        return np.asarray(column)
    names, name = distinct(column)
    known = ids.codes_of(names)
    code = np.fromiter((known.get(one, UNKNOWN) for one in names), dtype=np.int64, count=len(names))
    codes: np.ndarray = code[name]
    return codes


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """With an empty text for each null: str."""
    if column.null_count == len(column):
        return np.full(len(column), "")
    names, name = distinct(pc.fill_null(column, "") if column.null_count else column)
    texts: np.ndarray = np.array(names, dtype=np.str_)[name]
    return texts


_READ_AS = (np.int64, np.int32, np.int64, *(np.float64 for _ in _FLOATS), *(np.str_ for _ in _TEXTS))
_OF_RUN = select(
    *(recommendation.c[name] for name in _NAMES if name not in _TEXTS),
    *(func.coalesce(recommendation.c[name], "") for name in _TEXTS),
).where(recommendation.c[columns.RUN_ID] == bindparam("run"))
_READ = _OF_RUN.where(
    recommendation.c[columns.USER_ID].between(bindparam("first"), bindparam("last"))
).order_by(recommendation.c[columns.USER_ID], recommendation.c[columns.RANK])
_READ_TEXT = _OF_RUN.where(
    recommendation.c[columns.USER_ID].in_(bindparam("users", type_=Text(), expanding=True))
)
_USERS_AT_A_TIME = 4_096


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
    rows = [(user, rank, videos.get(video, UNKNOWN), *rest) for user, rank, video, *rest in rows]
    return _lists(sorted(rows, key=lambda row: row[:2]))


def _lists(rows: Sequence[Any]) -> Lists:
    values = zip(*rows, strict=True) if rows else [()] * len(_READ_AS)
    arrays = (np.array(column, dtype=kind) for column, kind in zip(values, _READ_AS, strict=True))
    return Lists(**dict(zip(_NAMES, arrays, strict=True)))
