"""Plays from a query: the first answer is the raw file, what is new is a delivery. And tables of lakes.

Beside the tests of lists, whose PostgreSQL server it asks.
"""

import importlib.util
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from sqlalchemy import create_engine, text

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings, describe, load_settings
from nightreel.operations.init import draft_of, rows_of
from pipelines.ingest import ingest
from tests.fixtures.tables import read_table

QUERY = "SELECT who, what, seen, stars FROM log WHERE stars > 0"
TOML = (
    f'[data]\nplays = "sql:{QUERY}"\nwatermark = "seen"\n'
    '[data.columns]\nuser = "who"\nitem = "what"\ntime = "seen"\nrating = "stars"\n'
)
ROWS = [(1, 7, 1_700_000_000, 4.0), (2, 7, 1_700_000_100, 2.5)]


def _fill(url: str, rows: list[tuple[int, int, int, float]]) -> None:
    types = "who bigint, what bigint, seen bigint, stars numeric(3, 1)"
    if url.startswith("duckdb:"):
        with duckdb.connect(url.removeprefix("duckdb:///")) as source:
            source.execute(f"CREATE TABLE IF NOT EXISTS log ({types})")
            source.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        return
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS log ({types})"))
        for row in rows:
            values = dict(zip("abcd", row, strict=True))
            connection.execute(text("INSERT INTO log VALUES (:a, :b, :c, :d)"), values)
    engine.dispose()


def _settings(home: Path, patch: pytest.MonkeyPatch, url: str, toml: str = TOML) -> Settings:
    patch.setenv("NIGHTREEL_HOME", str(home))
    patch.setenv("NIGHTREEL_DATA_SOURCE_URL", url)
    (home / "nightreel.toml").write_text(toml)
    return load_settings()


def _plays(settings: Settings) -> pl.DataFrame:
    return read_table(settings, "interactions")


def _holds_what_is_new(home: Path, patch: pytest.MonkeyPatch, url: str) -> None:
    _fill(url, ROWS)
    settings = _settings(home, patch, url)
    ingest(settings)
    assert _plays(settings)["user_id", "watch_ratio"].rows() == [(1, 4.0), (2, 2.5)]
    assert ingest(settings).skipped
    # One at the watermark itself, one above, and one far below, which comes too late to be seen.
    _fill(url, [(3, 7, 1_700_000_100, 5.0), (4, 8, 1_700_000_200, 1.0), (5, 8, 1_600_000_000, 1.0)])
    ingest(settings)
    plays = _plays(settings)
    assert plays["user_id"].to_list() == [1, 2, 3, 4]
    arrived = plays["created_timestamp"]
    assert arrived[0] == arrived[1] < arrived[2] == arrived[3]
    assert len(list((settings.data.raw_dir / "incoming" / "taken").iterdir())) == 1
    assert ingest(settings).skipped
    ingest(settings, force=True)
    assert _plays(settings).equals(plays)


# SQLite's second URL names a driver, which is SQLAlchemy's, as those of all other databases are.
@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "sqlite+pysqlite"])
def test_a_database_in_a_file_is_asked_for_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _holds_what_is_new(tmp_path, monkeypatch, f"{kind}:///{tmp_path}/source.db")


def test_postgresql_is_asked_for_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_url: str
) -> None:
    _holds_what_is_new(tmp_path, monkeypatch, postgresql_url)


def test_without_a_watermark_the_whole_answer_is_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/source.db"
    _fill(url, ROWS)
    settings = _settings(tmp_path, monkeypatch, url, TOML.replace('watermark = "seen"\n', ""))
    ingest(settings)
    assert ingest(settings).skipped
    with sqlite3.connect(tmp_path / "source.db") as source:
        source.execute("DELETE FROM log WHERE who = 1")
    ingest(settings)
    assert _plays(settings)["user_id"].to_list() == [2]


KINDS = """SELECT u AS who, n AS what, t AS seen, d, nothing FROM (VALUES (
    '0b6d3f6a-0000-4000-8000-00000000000a'::uuid, 18446744073709551615::{wide}, {at}, DATE '2026-01-02', NULL
    )) AS v (u, n, t, d, nothing)"""


@pytest.mark.parametrize("watermark", ["seen", "d", "what"])
@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_ids_keep_every_digit_and_any_column_may_be_the_watermark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str, watermark: str
) -> None:
    at = "TIMESTAMPTZ '2026-01-02 03:04:05.678901+01'"
    if kind == "duckdb":
        query, url = KINDS.format(wide="ubigint", at=at), f"duckdb:///{tmp_path}/kinds.duckdb"
        duckdb.connect(str(tmp_path / "kinds.duckdb")).close()
    else:
        query, url = KINDS.format(wide="numeric", at=at), request.getfixturevalue("postgresql_url")
    toml = (
        f'[data]\nformat.text_ids = "user,video"\nplays = """sql:{query}"""\nwatermark = "{watermark}"\n'
        '[data.columns]\nuser = "who"\nitem = "what"\ntime = "seen"\n'
    )
    settings = _settings(tmp_path, monkeypatch, url, toml)
    ingest(settings)
    for name, expected in (
        ("user", "0b6d3f6a-0000-4000-8000-00000000000a"),
        ("video", "18446744073709551615"),
    ):
        ids = pl.read_parquet(settings.paths.home / "data" / "ids" / f"{name}.parquet")
        assert expected in ids.to_dict(as_series=False)["id"]
    assert str(_plays(settings)["event_timestamp"][0]) == "2026-01-02 02:04:05.678901+00:00"
    # The next night asks for what is at or above the watermark, and the row that comes again is no delivery.
    assert ingest(settings).skipped
    assert not (settings.data.raw_dir / "incoming").exists()


def test_a_database_that_is_away_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(tmp_path, monkeypatch, "postgresql://me:secret@127.0.0.1:1/db")
    with pytest.raises(NightreelError, match="Connection refused") as error:
        ingest(settings)
    assert not isinstance(error.value, InputError)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["snowflake", "bigquery"])
def test_a_driver_that_is_missing_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    module = {"snowflake": "snowflake", "bigquery": "sqlalchemy_bigquery"}[kind]
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"the extra nightreel[{kind}] is installed here")
    settings = _settings(tmp_path, monkeypatch, f"{kind}://me:secret@somewhere/db")
    with pytest.raises(InputError, match=rf"pip install 'nightreel\[{kind}\]'") as error:
        ingest(settings)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("toml", "url", "said"),
    [
        (TOML.replace("FROM log", "FROM lgo"), "sqlite:///{}/source.db", "no such table: lgo"),
        (
            TOML.replace('watermark = "seen"', 'watermark = "sean"'),
            "sqlite:///{}/source.db",
            "no column sean",
        ),
        (TOML, "nosuch://me:secret@host/db", "source_url"),
        (TOML, "sqlite:///{}/nowhere.db", "nowhere.db: no such file"),
        (TOML.replace("stars FROM", "stars, who FROM"), "sqlite:///{}/source.db", "two columns who"),
    ],
)
def test_what_is_wrong_is_one_line_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, url: str, said: str
) -> None:
    _fill(f"sqlite:///{tmp_path}/source.db", ROWS)
    settings = _settings(tmp_path, monkeypatch, url.format(tmp_path), toml)
    with pytest.raises(InputError, match=said) as error:
        ingest(settings)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)
    assert "secret" not in str(describe(settings))


LAKE = (
    '[data]\nplays = "lake"\n[data.columns]\nuser = "who"\nitem = "what"\ntime = "seen"\nrating = "stars"\n'
)
FRAME = pl.DataFrame(ROWS, schema=["who", "what", "seen", "stars"], orient="row")


def _iceberg(folder: Path) -> Any:
    from pyiceberg.catalog.sql import SqlCatalog

    options = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    catalog = SqlCatalog("here", **options)
    catalog.create_namespace("logs")
    return catalog.create_table("logs.plays", FRAME.to_arrow().schema, location=f"file://{folder}/lake")


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_table_of_a_lake_is_read_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[kind])
    lake = tmp_path / "lake"
    if kind == "delta":
        FRAME.write_delta(lake)
    else:
        table = _iceberg(tmp_path)
        table.append(FRAME.to_arrow())
    settings = _settings(tmp_path, monkeypatch, "sqlite://", LAKE)
    named = {"user": "who", "item": "what"}
    rows, _ = rows_of(draft_of(str(lake), named, lambda *_: "UTC", layout=None))
    assert [(row["user"], row["value"]) for row in rows] == [(str(who), stars) for who, _, _, stars in ROWS]
    ingest(settings)
    assert _plays(settings)["user_id"].to_list() == [1, 2]
    assert ingest(settings).skipped
    # The old file stays where it is, and does not count.
    if kind == "delta":
        FRAME.filter(pl.col("who") == 2).write_delta(lake, mode="overwrite")
    else:
        table.overwrite(FRAME.filter(pl.col("who") == 2).to_arrow())
    ingest(settings)
    assert _plays(settings)["user_id"].to_list() == [2]
