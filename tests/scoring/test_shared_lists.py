"""Lists that are not a user's: shown with the others, audited, kept, exported and shown to people."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from nightreel.cli import app
from nightreel.core.errors import AuditError, InputError
from nightreel.core.ids import ListIds, ids_file
from nightreel.core.settings import Settings
from pipelines.ingest.id_codes import Codes
from scoring.database.connection import reading, sql_engine
from scoring.database.history import rollback
from scoring.database.id_columns import fit_ids
from scoring.database.new_run import NewRun
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.show_shared import popular_list, popular_of_segments, related_list, related_of_videos
from scoring.database.tables import OF_IDS, OF_RUNS
from scoring.database.writer import exclusive_lock
from scoring.exporting import export_shared
from scoring.lists.shared.rows import SharedList
from tests.conftest import Nightreel
from tests.fixtures.lists import make_blocks, make_candidates, make_shared
from tests.fixtures.published_home import NIGHT, publish_small_lists

pytestmark = [pytest.mark.one_database, pytest.mark.current_schema]

EVERYONE = make_candidates(5)
VIEWS = ("latest_recommendation", "latest_related", "latest_popular")


def _publish(settings: Settings, *shared: SharedList) -> None:
    settings = settings.changed({"lists.top_k": 10, "lists.shared.segments": ("taste",)})
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
            fit_ids(connection, ListIds.of(settings.paths), OF_IDS)
        run = NewRun(NIGHT, "model", "digest")
        publish(connection, run, make_blocks(EVERYONE, 1, k=10), EVERYONE, settings, shared=shared)


def _shown_runs(settings: Settings) -> list[set[int]]:
    with reading(settings) as connection:
        return [
            {row[0] for row in connection.exec_driver_sql(f"SELECT run_id FROM {view}")} for view in VIEWS
        ]


def _shown(settings: Settings, view: str, order: str) -> list[tuple[object, ...]]:
    with reading(settings) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {view} ORDER BY {order}")]


def test_what_is_shown_is_what_was_made(settings: Settings) -> None:
    related, popular = make_shared(EVERYONE, 3, k=5)
    _publish(settings, related, popular)
    shown = _shown(settings, "latest_related", "video_id, rank")
    assert shown == [(1, *row) for row in related.rows.rows()]
    shown = _shown(settings, "latest_popular", "segment, value, rank")
    assert sorted(shown) == sorted((1, *row) for row in popular.rows.rows())
    with reading(settings) as connection:
        counts = connection.exec_driver_sql("SELECT * FROM shared_list_run ORDER BY kind")
        # The last video has no list: it counts as a short one.
        assert [tuple(row) for row in counts] == [(1, "popular", 5, 3, 0, 15), (1, "related", 5, 30, 1, 145)]


def test_all_views_show_the_same_run_and_go_back_together(settings: Settings) -> None:
    publish_small_lists(settings, (1, 2), shared=True)
    assert _shown_runs(settings) == [{2}] * 3
    rollback(settings, 1)
    assert _shown_runs(settings) == [{1}] * 3
    # A run without such lists shows none, rather than those of another night.
    publish_small_lists(settings, (3,))
    assert _shown_runs(settings) == [{3}, set(), set()]


def test_they_go_when_their_run_goes(settings: Settings) -> None:
    publish_small_lists(settings.changed({"database.keep_runs": 2}), (1, 2, 3), shared=True)
    with reading(settings) as connection:
        for table in OF_RUNS:
            runs = connection.exec_driver_sql(f"SELECT DISTINCT run_id FROM {table.name} ORDER BY 1")
            assert [row[0] for row in runs] == [2, 3]


def _set(column: str, value: object, at: int = 3) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """One row's value is another."""
    is_row = pl.int_range(pl.len()) == at
    changed = pl.when(is_row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    return lambda rows: rows.with_columns(changed.cast(rows.schema[column]))


@pytest.mark.parametrize(
    ("kind", "spoil", "named"),
    [
        (0, _set("rank", 9), "ranks 1..5"),
        (0, _set("related_video_id", 7), "listable videos"),
        (0, lambda rows: _set("related_video_id", rows["related_video_id"][2])(rows), "distinct videos"),
        (0, lambda rows: _set("related_video_id", rows["video_id"][3])(rows), "other videos"),
        (0, _set("score", 5.0), "scores ordered by rank"),
        (0, _set("source", "magic"), "sources"),
        (0, lambda rows: _set("video_id", 1, at=0)(rows.head(1)), "known videos"),
        (1, _set("video_id", 7), "listable videos"),
        (1, lambda rows: _set("video_id", rows["video_id"][2])(rows), "distinct videos"),
        (1, _set("score", 5.0), "scores ordered by rank"),
        (1, lambda rows: rows.with_columns(segment=pl.lit("shoe_size")), "known segments"),
        (1, _set("source", "magic"), "sources"),
    ],
)
def test_a_list_that_is_wrong_is_refused_and_the_old_ones_stay(
    settings: Settings, kind: int, spoil: Callable[[pl.DataFrame], pl.DataFrame], named: str
) -> None:
    publish_small_lists(settings, (1,), shared=True)
    shared = [*make_shared(EVERYONE, 3, k=5)]
    shared[kind] = replace(shared[kind], rows=spoil(shared[kind].rows))
    with pytest.raises(AuditError, match=named):
        _publish(settings, *shared)
    assert _shown_runs(settings) == [{1}] * 3
    with reading(settings) as connection:
        for table in OF_RUNS:
            runs = connection.exec_driver_sql(f"SELECT DISTINCT run_id FROM {table.name}")
            assert [row[0] for row in runs] == [1]


def test_far_fewer_rows_than_in_the_last_run_are_refused(settings: Settings) -> None:
    publish_small_lists(settings, (0,), shared=True)
    related, popular = make_shared(EVERYONE, 3, k=5)
    few = replace(related, rows=related.rows.head(40))
    settings = settings.changed({"database.audits.min_share_of_last_run": 0.5})
    with exclusive_lock(sql_engine(settings)) as connection:
        run = NewRun(NIGHT, "model", "digest")
        changed = settings.changed({"lists.top_k": 10, "lists.shared.segments": ("taste",)})
        with pytest.raises(AuditError, match="related rows in line with the last run"):
            blocks = make_blocks(EVERYONE, 1, k=10)
            publish(connection, run, blocks, EVERYONE, changed, shared=(few, popular))
    assert _shown_runs(settings) == [{1}] * 3


def test_ids_are_those_of_the_log(settings: Settings) -> None:
    codes = Codes()
    codes.codes(pl.Series(["\\N", "null", 'a "b", c', *(f"video {n}" for n in range(500))]))
    codes.write(ids_file(settings.paths, "video"))
    related, popular = make_shared(EVERYONE, 3, k=5)
    _publish(settings, related, popular)
    outward = ListIds.of(settings.paths).video.outward
    expected = related.rows.with_columns(
        pl.Series(name, outward(related.rows[name].to_numpy())) for name in ("video_id", "related_video_id")
    )
    assert sorted(_shown(settings, "latest_related", "1, 2, 3")) == sorted(
        (1, *row) for row in expected.rows()
    )
    first = expected.row(0)
    assert related_list(settings, first[0], 1)[0]["related_video_id"] == first[2]
    assert related_of_videos(settings, [first[0], "unknown"]).height == 5


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_every_row_is_in_the_exported_file(settings: Settings, tmp_path: Path, kind: str) -> None:
    publish_small_lists(settings, (1, 2), shared=True)
    file = tmp_path / f"lists{kind}"
    readers = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    assert export_shared(settings, file, None, "related").summary["rows"] == 145
    found = readers[kind](file)
    assert found["related_video_id"].to_list() == related_of_videos(settings)["related_video_id"].to_list()
    export_shared(settings, file, 1, "popular")
    found = readers[kind](file)
    assert (
        set(found["run_id"]) == {1} and found.height == popular_of_segments(settings, run_id=1).height == 15
    )


def test_people_and_python_ask_for_them(settings: Settings) -> None:
    publish_small_lists(settings, (1,), shared=True)
    related, popular = make_shared(EVERYONE, 1, k=5)
    video, listed = related.rows["video_id"][0], related.rows["related_video_id"].to_list()
    assert [row["related_video_id"] for row in related_list(settings, video, 3)] == listed[:3]
    of_all = popular.rows.filter(pl.col("segment") == "overall")["video_id"].to_list()
    assert [row["video_id"] for row in popular_list(settings, 10)] == of_all
    assert len(popular_list(settings, 10, segment="taste", value="\\N")) == 5
    with pytest.raises(InputError, match="Its values are"):
        popular_list(settings, 10, segment="taste", value="green")
    with pytest.raises(InputError, match="Segments are taste"):
        popular_list(settings, 10, segment="size", value="1")
    with pytest.raises(InputError, match="no related videos"):
        related_list(settings, int(EVERYONE.video_id[-1]), 3)
    publish_small_lists(settings, (2,))
    with pytest.raises(InputError, match="no lists of related videos"):
        related_list(settings, video, 3)


def test_the_commands_show_and_export_them(settings: Settings, nightreel: Nightreel, tmp_path: Path) -> None:
    if settings.database.url is not None:
        pytest.skip("the commands are the same on both")
    publish_small_lists(settings, (1,), shared=True)
    video = int(EVERYONE.video_id[0])

    def shown(*words: str) -> list[dict[str, object]]:
        done = nightreel("show", *words, "--json", "--limit", "2", home=settings.home)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    assert [row["rank"] for row in shown("--related", str(video))] == [1, 2]
    assert [row["source"] for row in shown("--popular", "--segment", "taste=\\N")] == ["segment"] * 2
    table = nightreel("show", "--popular", home=settings.home)
    assert table.returncode == 0 and table.stdout.startswith("rank"), table.stderr
    file = tmp_path / "related.csv"
    done = nightreel("export", str(file), "--lists", "related", home=settings.home)
    assert done.returncode == 0 and pl.read_csv(file).height == 145
    for words in (["show"], ["show", "7", "--popular"], ["show", "--popular", "--segment", "taste"]):
        refused = CliRunner().invoke(app, words, env={"NIGHTREEL_HOME": str(settings.home)})
        assert isinstance(refused.exception, InputError), refused.output


def test_a_view_is_read_by_its_primary_key(settings: Settings) -> None:
    publish_small_lists(settings, (1,), shared=True)
    query = "SELECT related_video_id FROM latest_related WHERE video_id = 100 ORDER BY rank"
    explain = "EXPLAIN QUERY PLAN" if settings.database.url is None else "EXPLAIN"
    with reading(settings) as connection:
        if settings.database.url is not None:
            connection.execute(text("SET enable_seqscan = off"))  # the table is too small to matter else
        plan = " ".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {query}"))
    assert "PRIMARY KEY (run_id=? AND video_id=?)" in plan or "related_recommendation_pkey" in plan
