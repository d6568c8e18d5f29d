"""Feast's registry, online store and feature tables in a real PostgreSQL, by configuration alone."""

import os
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from feature_repo.home import REPOSITORY
from tests.fixtures.feature_home import every_feature, make_feature_home
from tests.fixtures.fork_server import forks
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight
from tests.scoring.conftest import Server

LOG = make_log(4)
NOON = midnight(FIRST_DAY + timedelta(days=5)) + timedelta(hours=12)
# In a process of its own: which stores there are is decided when the definitions are imported.
_JOIN = """
import sys, warnings
warnings.simplefilter("ignore")
import polars as pl
from feature_repo.open_store import apply_definitions, store
from feature_repo.postgresql import fill_tables
from nightreel.core.settings import load_settings
from tests.fixtures.feature_home import every_feature
settings = load_settings()
print(apply_definitions(settings).skipped)
every_feature(pl.read_parquet(sys.argv[1])).write_parquet(sys.argv[2])
print(apply_definitions(settings).skipped, len(fill_tables(settings.paths)))
"""
_ONLINE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from datetime import datetime
from feature_repo.open_store import store
opened = store()
opened.materialize_incremental(end_date=datetime.fromisoformat(sys.argv[1]))
rows = json.loads(sys.argv[2])
found = opened.get_online_features(features=["user_activity:user_agg_interactions"], entity_rows=rows)
print(json.dumps(found.to_dict()))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with features, whose registry and online store are still its own files."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("postgresql") / "home"
        make_feature_home(folder, LOG, patch)
        yield folder


@pytest.fixture(scope="module")
def environment(server: Server, home: Path) -> dict[str, str]:
    """What chooses the other feature_store.yaml, and says where the server is."""
    where = psycopg.conninfo.conninfo_to_dict(server.url)
    return {
        **os.environ,
        "NIGHTREEL_HOME": str(home),
        "FEAST_FS_YAML_FILE_PATH": str(REPOSITORY / "feature_store.postgresql.yaml"),
        "PGHOST": str(where["host"]),
        "PGPORT": str(where.get("port") or 5432),
        "PGDATABASE": "postgres",
        "PGUSER": "postgres",
        "PGPASSWORD": "it's 100 %: a #secret",
    }


def _run(command: list[Any], environment: dict[str, str], cwd: Path | None = None) -> str:
    done = forks.run(command, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "#secret" not in done.stdout + done.stderr
    return done.stdout


def _plays() -> pl.DataFrame:
    return LOG.interactions.select("user_id", "video_id", "event_timestamp").head(300)


@pytest.fixture(scope="module")
def joined(environment: dict[str, str], home: Path) -> pl.DataFrame:
    """Every feature of some plays, joined from tables in PostgreSQL; applied before, and once more after."""
    _plays().write_parquet(home / "plays.parquet")
    out = home / "joined.parquet"
    said = _run(["-c", _JOIN, home / "plays.parquet", out], environment)
    assert said.split() == ["False", "True", "0"], "applied again, something was written"
    return pl.read_parquet(out)


def test_the_join_from_tables_is_that_from_files(joined: pl.DataFrame, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_HOME", str(home))
        assert_frame_equal(joined, every_feature(_plays()), check_exact=True)
    taken_out = home / "data" / "features_from_postgresql"
    assert len([*taken_out.glob("*.parquet")]) == len([*(home / "data" / "features").glob("*.parquet")])


def test_nothing_of_feast_is_left_in_files(
    joined: pl.DataFrame, environment: dict[str, str], server: Server
) -> None:
    with psycopg.connect(server.url) as connection:
        tables = {
            row[0]
            for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }
    assert {"feature_user_activity", "feature_video_factors", "feature_table", "feature_views"} <= tables


@pytest.mark.slow
def test_the_feast_command_works_on_it_and_the_online_store_serves(
    joined: pl.DataFrame, environment: dict[str, str]
) -> None:
    _run(["feast", "apply"], environment, cwd=REPOSITORY)
    plays = LOG.interactions.filter(pl.col("event_timestamp") < NOON - timedelta(hours=12))
    user, count = plays.group_by("user_id").len().sort("len").row(-1)
    instant = NOON.astimezone(UTC).isoformat()
    said = _run(["-c", _ONLINE, instant, f'[{{"user_id": {user}}}]'], environment)
    assert f'"user_agg_interactions": [{count}]' in said


@pytest.mark.slow
def test_feasts_own_store_reads_the_same_tables(
    joined: pl.DataFrame, environment: dict[str, str], home: Path
) -> None:
    """For a view whose values never expire, and in any order of rows: that store keeps none."""
    ours = (REPOSITORY / "feature_store.postgresql.yaml").read_text(encoding="utf-8")
    theirs = home / "theirs.yaml"
    theirs.write_text(ours.replace("feature_repo.postgresql.PostgreSQLAsOfOfflineStore", "postgres"))
    code = (
        "import sys, polars as pl\n"
        "from feature_repo.open_store import store\n"
        "plays = pl.read_parquet(sys.argv[1]).to_pandas()\n"
        "features = ['user_activity:user_agg_interactions', 'video_engagement:video_agg_views']\n"
        "job = store().get_historical_features(entity_df=plays, features=features)\n"
        "pl.from_pandas(job.to_df()).write_parquet(sys.argv[2])\n"
    )
    out = home / "theirs.parquet"
    where = {**environment, "FEAST_FS_YAML_FILE_PATH": str(theirs)}
    _run(["-c", code, home / "plays.parquet", out], where)
    names = ["user_id", "video_id", "event_timestamp", "user_agg_interactions", "video_agg_views"]
    found, expected = (
        frame.select(names).cast({"user_agg_interactions": pl.Int64, "video_agg_views": pl.Int64}).sort(names)
        for frame in (
            # In UTC, but that store does not say so.
            pl.read_parquet(out).with_columns(pl.col("event_timestamp").dt.replace_time_zone("UTC")),
            joined,
        )
    )
    assert_frame_equal(found, expected, check_dtypes=False)
