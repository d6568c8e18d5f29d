"""Tables have the ids of the log: BIGINT, or TEXT where they are text; both ways, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import inspect, select

from nightreel.core.errors import AuditError, InputError
from nightreel.core.ids import ListIds, ids_file
from nightreel.core.settings import Settings
from pipelines.ingest.id_codes import Codes
from scoring.database.audits import audit_lists
from scoring.database.compare import compare
from scoring.database.connection import reading, sql_engine
from scoring.database.exclusions import read_exclusions
from scoring.database.schema import upgrade_database
from scoring.database.show import user_list
from scoring.database.tables import OF_IDS, blocklist
from scoring.exporting import export
from scoring.lists.rows import Lists
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.test_publish_atomic import expected_rows, publish_lists

pytestmark = pytest.mark.one_database

# Beside what looks like other things: a number, an option, a quote, a null; and cases that differ.
_ODD = (
    "7",
    "007",
    "-1",
    "--home",
    "O'Hara",
    'a "b", c',
    "\\N",
    "null",
    "Ana",
    "ana",
    "用户",
    "é",
    "NaN",
    "%s",
)
CANDIDATES = make_candidates(1)


def _make_text(settings: Settings, *names: str) -> None:
    """The ids of a home's users and videos are text from now on, with codes enough for the lists."""
    for name in names or ("user", "video"):
        codes = Codes()
        codes.codes(pl.Series([*_ODD, *(f"{name} {n}" for n in range(500))]))
        codes.write(ids_file(settings.paths, name))


def _blocks(seed: int) -> list[Lists]:
    return list(make_blocks(CANDIDATES, seed, k=10))


def _with_ids(rows: list[tuple[object, ...]], settings: Settings) -> list[tuple[object, ...]]:
    """Rows of codes as they are to be read: user and video by their ids."""
    ids = ListIds.of(settings.paths)
    users = ids.user.outward([int(str(row[1])) for row in rows])
    videos = ids.video.outward([int(str(row[3])) for row in rows])
    named = zip(rows, users, videos, strict=True)
    return sorted((row[0], user, row[2], video, *row[4:]) for row, user, video in named)


def _types(settings: Settings) -> dict[str, str]:
    with sql_engine(settings).connect() as connection:
        return {
            f"{table.name}.{one['name']}": str(one["type"])
            for table in OF_IDS
            for one in inspect(connection).get_columns(table.name)
            if str(one["name"]).endswith(("user_id", "video_id"))
        }


@pytest.mark.parametrize("names", [(), ("user",), ("video",)])
def test_lists_are_published_with_the_ids_of_the_log(settings: Settings, names: tuple[str, ...]) -> None:
    _make_text(settings, *names)
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    expected = _with_ids(expected_rows(1, _blocks(1)), settings)
    assert sorted(shown_rows(settings)) == expected
    for column, kind in _types(settings).items():
        entity = column.split(".")[1].removesuffix("_id").removeprefix("related_")
        assert (column, kind) == (column, "TEXT" if entity in (names or ("user", "video")) else "BIGINT")
    user = expected[0][1]
    assert [row["video_id"] for row in user_list(settings, str(user), 10)] == [
        row[3] for row in expected if row[1] == user
    ]


def test_a_list_is_asked_for_by_the_exact_id(settings: Settings) -> None:
    few = make_candidates(1, users=14)
    few = type(few)(np.arange(14), few.has_history, few.video_id, few.seen)
    _make_text(settings)
    upgrade_database(settings)
    publish_lists(settings, few, list(make_blocks(few, 1, k=10)))
    asked = {one: [row["score"] for row in user_list(settings, one, 10)] for one in _ODD[1:]}
    for code, one in enumerate(_ODD[1:], 1):
        (lists,) = [lists for lists in make_blocks(few, 1, k=10, users_a_block=1) if lists.user_id[0] == code]
        assert asked[one] == lists.score.tolist()
    for other in ("0007", " 7", "ANA", "e\u0301", ""):
        with pytest.raises(InputError, match="has no list"):
            user_list(settings, other, 10)


def test_a_home_that_turns_to_text_keeps_its_runs_and_may_turn_back(settings: Settings) -> None:
    """Integers become their digits, and those integers again; readers keep view and grants."""
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    before = shown_rows(settings)
    with sql_engine(settings).begin() as connection:
        connection.execute(blocklist.insert().values(video_id=-5, reason="why"))
        connection.exec_driver_sql("CREATE INDEX by_video ON recommendation (video_id)")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("GRANT SELECT ON latest_recommendation TO PUBLIC")
    for name in ("user", "video"):
        Codes.of_integers(pl.Series(range(1000))).write(ids_file(settings.paths, name))
    upgrade_database(settings)
    as_text = sorted((row[0], str(row[1]), row[2], str(row[3]), *row[4:]) for row in before)
    assert sorted(shown_rows(settings)) == as_text
    assert set(_types(settings).values()) == {"TEXT"}
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(2))
    assert compare(settings, 1, 1)["equal_lists"] == len({row[1] for row in before})
    _remove_ids(settings)
    upgrade_database(settings)
    assert set(_types(settings).values()) == {"BIGINT"}
    assert shown_rows(settings) == expected_rows(2, _blocks(2))
    with sql_engine(settings).connect() as connection:
        assert connection.execute(select(blocklist)).all() == [(-5, "why")]
        assert "by_video" in {one["name"] for one in inspect(connection).get_indexes("recommendation")}
        if connection.dialect.name == "postgresql":
            granted = connection.exec_driver_sql(
                "SELECT privilege_type FROM information_schema.role_table_grants "
                "WHERE table_name = 'latest_recommendation' AND grantee = 'PUBLIC'"
            )
            assert granted.scalars().all() == ["SELECT"]


def test_words_do_not_become_integers(settings: Settings) -> None:
    _make_text(settings)
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    before = shown_rows(settings)
    _remove_ids(settings)
    with pytest.raises(InputError, match=r"has user ids that are text, like .*text_ids = \"user\"") as raised:
        upgrade_database(settings)
    assert "\n" not in str(raised.value)
    assert shown_rows(settings) == before


def test_views_of_others_are_not_taken_away(settings: Settings) -> None:
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql("CREATE VIEW own AS SELECT user_id FROM latest_recommendation")
        is_sqlite = connection.dialect.name == "sqlite"
    for name in ("user", "video"):
        Codes.of_integers(pl.Series(range(1000))).write(ids_file(settings.paths, name))
    if not is_sqlite:
        with pytest.raises(InputError, match="views of yours depend on latest_recommendation"):
            upgrade_database(settings)
        assert "BIGINT" in _types(settings).values()
        return
    upgrade_database(settings)
    with sql_engine(settings).connect() as connection:
        rows = connection.exec_driver_sql("SELECT DISTINCT user_id FROM own").scalars().all()
    assert rows and all(isinstance(user, str) for user in rows)


def test_owners_tables_speak_ids_and_may_name_what_is_not_known_yet(settings: Settings) -> None:
    _make_text(settings)
    upgrade_database(settings)
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql("INSERT INTO blocklist (video_id) VALUES ('video 3'), ('new'), ('007')")
        connection.exec_driver_sql("INSERT INTO skip_user (user_id) VALUES ('ana'), ('Ana'), ('nobody')")
    with reading(settings) as connection:
        exclusions = read_exclusions(connection, ListIds.of(settings.paths))
    assert exclusions.blocklist.tolist() == [1, 3 + len(_ODD)]
    assert exclusions.skip_user.tolist() == [8, 9]


def test_an_audit_names_the_user_by_the_id(settings: Settings) -> None:
    _make_text(settings)
    upgrade_database(settings)
    first = CANDIDATES.user_id[0]
    name = ListIds.of(settings.paths).user.outward([first])[0]
    with pytest.raises(AuditError, match=f"the first is user {name!r}"):
        publish_lists(settings, CANDIDATES, list(make_blocks(CANDIDATES, 1, k=10, users_a_block=1))[1:])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_exports_have_the_ids(settings: Settings, tmp_path: Path, ending: str) -> None:
    _make_text(settings)
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    file = tmp_path / f"lists.{ending}"
    export(settings, file, None)
    found = pl.read_csv(file) if ending == "csv" else pl.read_parquet(file)
    expected = [row[:4] for row in _with_ids(expected_rows(1, _blocks(1)), settings)]
    assert sorted(found.select("run_id", "user_id", "rank", "video_id").rows()) == expected


def _remove_ids(settings: Settings) -> None:
    def files() -> Iterator[Path]:
        yield from settings.paths.ids.iterdir()

    for file in list(files()):
        file.unlink()


def test_rows_of_unknown_users_are_found(settings: Settings) -> None:
    """A row that no code leads to would be in a list that no audit reads."""
    _make_text(settings)
    upgrade_database(settings)
    publish_lists(settings, CANDIDATES, _blocks(1))
    ids = ListIds.of(settings.paths)
    with sql_engine(settings).begin() as connection:
        assert audit_lists(connection, 1, CANDIDATES, 10, ids) == len(shown_rows(settings))
        connection.exec_driver_sql(
            "INSERT INTO recommendation (run_id, user_id, rank, video_id, score, source) "
            "VALUES (1, 'stranger', 1, 'video 1', 1.0, 'popular')"
        )
    with (
        sql_engine(settings).begin() as connection,
        pytest.raises(AuditError, match="1 rows are of users who are not eligible; the first is user 'unk"),
    ):
        audit_lists(connection, 1, CANDIDATES, 10, ids)
