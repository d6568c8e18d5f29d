"""Columns of ids: BIGINT, or TEXT where the home's ids are text; they change when the home's ids have.

What the tables hold goes with them: 7 becomes "7", and back where every id is an integer again.
"""

import re
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Connection, Table, Text, TypeDecorator, inspect
from sqlalchemy.exc import DBAPIError

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids, ListIds
from scoring.database.url import SQLITE

_TEXT, _BIGINT = "TEXT", "BIGINT"
_INTEGER = "^(0|-?[1-9][0-9]{0,18})$"
_PATIENCE = "SET LOCAL lock_timeout = '30s'"
_DEPENDED_ON = "2BP01"
_VIEWS = (
    "SELECT DISTINCT v.oid::regclass::text, pg_get_viewdef(v.oid), v.oid FROM pg_depend d "
    "JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class "
    "WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = '{table}'::regclass AND v.relkind = 'v'"
)
_FROM_MASTER = "SELECT name, sql FROM sqlite_master WHERE {of} AND sql IS NOT NULL"
_GRANTS = (
    "SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END, "
    "g.privilege_type, g.is_grantable FROM pg_class c, aclexplode(c.relacl) g "
    "WHERE c.oid = {oid} AND g.grantee <> c.relowner"
)


class Id(TypeDecorator[Any]):
    """An id as in the log, integer or text. Columns of new tables are integers until `fit_ids` runs."""

    impl = BigInteger
    cache_ok = True

    def coerce_compared_value(self, op: Any, value: Any) -> Any:  # noqa: ARG002
        """A value compared with an id keeps its own type."""
        return Text() if isinstance(value, str) else BigInteger()


def ids_by_column(ids: ListIds) -> dict[str, Ids]:
    """Which ids each column of ids holds."""
    return {
        columns.USER_ID: ids.user,
        columns.VIDEO_ID: ids.video,
        columns.RELATED_VIDEO_ID: ids.video,
    }


def are_text(connection: Connection, table: Table, column: str) -> bool:
    """Whether an id column is TEXT in this database."""
    found = {one["name"]: one["type"] for one in inspect(connection).get_columns(table.name)}
    return not isinstance(found[column], BigInteger)


def schema_of(connection: Connection, table: Table) -> dict[str, Any]:
    """The table's columns with their Polars types; ids as this database has them."""
    kinds: dict[type, Any] = {int: pl.Int64, float: pl.Float64, str: pl.String}
    found = {}
    for column in table.columns:
        if isinstance(column.type, Id):
            found[column.name] = pl.String if are_text(connection, table, column.name) else pl.Int64
        else:
            found[column.name] = kinds[column.type.python_type]
    return found


def as_stored(connection: Connection, table: Table, column: str, ids: Ids, text: str) -> int | str | None:
    """An id typed by a person, as this database stores it; None if the database cannot hold it.

    Raises:
        InputError: the home's ids are integers and this is not one.
    """
    given = ids.given(text)
    if are_text(connection, table, column):
        return str(given)
    return given if isinstance(given, int) else int(given) if re.fullmatch(_INTEGER, given) else None


def fit_ids(connection: Connection, ids: ListIds, tables: tuple[Table, ...]) -> None:
    """Give id columns the type of the home's ids; call within the exclusive writer's transaction.

    Raises:
        InputError: text ids would have to become integers, or views of other owners depend on a column.
    """
    of_columns = ids_by_column(ids)
    for table in tables:
        wrong = {
            name: _TEXT if of_columns[name].is_text else _BIGINT
            for name in (column.name for column in table.columns if isinstance(column.type, Id))
            if are_text(connection, table, name) != of_columns[name].is_text
        }
        for name, kind in wrong.items():
            if kind == _BIGINT:
                _require_integers(connection, table, name, of_columns[name])
        if wrong and connection.dialect.name == SQLITE:
            _rebuild(connection, table.name, wrong)
        elif wrong:
            _alter(connection, table.name, wrong)


def _require_integers(connection: Connection, table: Table, name: str, ids: Ids) -> None:
    if connection.dialect.name == SQLITE:
        other = f"CAST(CAST({name} AS INTEGER) AS TEXT) <> {name}"
    else:
        other = (
            f"CASE WHEN {name} ~ '{_INTEGER}' THEN {name}::numeric NOT BETWEEN -9223372036854775808 "
            "AND 9223372036854775807 ELSE true END"
        )
    found = connection.exec_driver_sql(f"SELECT {name} FROM {table.name} WHERE {other} LIMIT 1").scalar()
    if found is not None:
        raise InputError(
            f"The database's table {table.name} has {ids.name} ids that are text, like {found!r}; this "
            "home's are integers.",
            f'Publish to another database, or set [data.format] text_ids = "{ids.name}".',
        )


def _rebuild(connection: Connection, table: str, kinds: dict[str, str]) -> None:
    """SQLite cannot change a column's type: the table is rebuilt, with its indexes and the views over it."""

    def statements(of: str) -> list[tuple[str, str]]:
        found = connection.exec_driver_sql(_FROM_MASTER.format(of=of))
        return [(str(name), str(sql)) for name, sql in found]

    (_, made), *_ = statements(f"type = 'table' AND name = '{table}'")
    views = statements(f"type = 'view' AND sql LIKE '%{table}%'")
    indexes = statements(f"type = 'index' AND tbl_name = '{table}'")
    for name, kind in kinds.items():
        made = re.sub(rf'("?\b{name}\b"?\s+)(BIGINT|TEXT)\b', rf"\g<1>{kind}", made, count=1)
    made = re.sub(rf'("?)\b{table}\b("?)', rf"\g<1>new_{table}\g<2>", made, count=1)
    names = [one["name"] for one in inspect(connection).get_columns(table)]
    values = ", ".join(f"CAST({name} AS {kinds[name]})" if name in kinds else name for name in names)
    for name, _ in views:
        connection.exec_driver_sql(f'DROP VIEW "{name}"')
    connection.exec_driver_sql(made)
    connection.exec_driver_sql(f"INSERT INTO new_{table} ({', '.join(names)}) SELECT {values} FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE new_{table} RENAME TO {table}")
    for _, sql in (*indexes, *views):
        connection.exec_driver_sql(sql)


def _alter(connection: Connection, table: str, kinds: dict[str, str]) -> None:
    """PostgreSQL wants views over a column gone while its type changes; they come back with their grants."""
    connection.exec_driver_sql(_PATIENCE)
    views = connection.exec_driver_sql(_VIEWS.format(table=table)).all()
    again = []
    for name, made, oid in views:
        again.append(f"CREATE VIEW {name} AS {made}")
        for grantee, privilege, grantable in connection.exec_driver_sql(_GRANTS.format(oid=oid)).all():
            more = " WITH GRANT OPTION" if grantable else ""
            again.append(f"GRANT {privilege} ON {name} TO {grantee}{more}")
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(f"DROP VIEW {name}")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _DEPENDED_ON:
                raise
            raise InputError(
                f"The ids of this home are of another kind now, and views of yours depend on {name}.",
                "Drop those, run this again, and make them again.",
            ) from None
    changes = ", ".join(
        f"ALTER COLUMN {name} TYPE {kind} USING {name}::{kind.lower()}" for name, kind in kinds.items()
    )
    connection.exec_driver_sql(f"ALTER TABLE {table} {changes}")
    for statement in again:
        connection.exec_driver_sql(statement)
