"""A user who is forgotten is in no file of the home any more; everybody else's rows stay as they were."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy import select, text

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from nightreel.operations.forgetting import forget
from nightreel.operations.incoming import merge_deliveries
from nightreel.operations.materialize import materialize
from pipelines.features import build_features
from pipelines.ingest import ingest
from scoring.database.connection import reading, sql_engine
from scoring.database.publish import score_and_publish
from scoring.database.tables import list_outcome, recommendation, recommendation_run
from scoring.lists.eligibility import default_as_of
from tests.conftest import Nightreel
from tests.fixtures.published_home import publish_small_lists
from tests.fixtures.raw_log import BIG_HEADER, RawLog
from tests.fixtures.synthetic_home import make_synthetic_home, publish_night
from tests.fixtures.tables import read_table

# Of no other meaning in any file; seven digits would be found in times.
USER = 7_716_253_849
SETTINGS = (
    "schedule.max_data_age_hours = 0\nranker.lightgbm.num_iterations = 10\n"
    "features.als.factors = 4\nthreads = 1\n"
    "lists.top_k = 5\nranker.filter_k = 20\ndatabase.keep_runs = 3\n"
)
# So that candidates are learnt and kept too, which is what the home would have of a user beside the lists.
LISTED = """ranker.objective = "next_day"
retrieval.sources = "als,recent_2d"
evaluation.backtest_days = 1
"""


def found_in(home: Path, user: int = USER) -> set[str]:
    """Where a number occurs: as text, in binary as SQLite, NumPy, Feast and parquet write it, or decoded."""
    written = [
        str(user).encode(),
        *(user.to_bytes(8, order) for order in ("little", "big")),
        user.to_bytes(6, "big"),
    ]
    found = set()
    for path in (path for path in home.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if any(one in content for one in written) or any(_decoded(path, user)):
            found.add(str(path.relative_to(home)))
    return found


def _decoded(path: Path, user: int) -> Iterator[bool]:
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        yield from (str(user) in str(frame[name].to_list()) for name in frame.columns)
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            yield from (bool((arrays[name] == user).any()) for name in arrays.files)


def _named_anew(settings: Settings, before: int) -> None:
    """Give a user of the synthetic raw files the id that occurs nowhere else."""
    for path in settings.data.raw_dir.glob("*.csv"):
        header, *lines = path.read_text(encoding="utf-8").split("\n")
        if header.startswith("user_id,"):
            lines = [
                f"{USER}{line[len(str(before)) :]}" if line.startswith(f"{before},") else line
                for line in lines
            ]
            path.write_text("\n".join([header, *lines]).replace(f"[{before}]", f"[{USER}]"), encoding="utf-8")


def test_no_file_of_the_home_has_the_user_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nightreel: Nightreel
) -> None:
    """A home with models, two published runs, a delivery and a replay; forgotten by the real command."""
    home = make_synthetic_home(
        tmp_path, monkeypatch, SETTINGS + LISTED, users=40, videos=80, plays=4_000, days=12
    )
    plays = pl.read_csv(home.data.raw_dir / "big_matrix.csv")
    first = int(plays["user_id"].value_counts().sort("count", descending=True)["user_id"][0])
    _named_anew(home, first)
    ingest(home)
    publish_night(home)
    last = plays.sort("timestamp").row(-1, named=True)
    row = {**last, "user_id": USER, "timestamp": last["timestamp"] + 60}
    (home.data.raw_dir / "incoming").mkdir()
    line = ",".join(str(row[name]) for name in plays.columns)
    others = ",".join(str({**row, "user_id": first + 100_000}[name]) for name in plays.columns)
    (home.data.raw_dir / "incoming" / "big_matrix_1.csv").write_text(
        f"{','.join(plays.columns)}\n{line}\n{others}\n", encoding="utf-8"
    )
    (home.data.raw_dir / "incoming" / "big_matrix_2.csv").write_text(f"x\n{USER}\n", encoding="utf-8")
    merge_deliveries(home)
    ingest(home)
    build_features(home)
    score_and_publish(home)
    materialize(home, default_as_of(home.paths, home.data, datetime.now(UTC)))
    assert nightreel("evaluate", home=tmp_path).returncode == 0
    before = found_in(tmp_path)
    for where in ("raw/big_matrix.csv", "incoming/taken", "set_aside", "data/tables", "data/features"):
        assert any(where in one for one in before), (where, before)
    for file in ("data/nightreel.sqlite", "data/online_store.db", "data/features/user_factors.parquet"):
        assert file in before
    done = nightreel("forget", str(USER), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert found_in(tmp_path) == set()
    assert str(USER) not in done.stdout + done.stderr
    assert "trained models have learnt" in done.stdout
    (record,) = (home.paths.data / "forgotten").iterdir()
    removed = json.loads(record.read_text())["removed"]
    assert removed["rows of lists"] == 10 and removed["archived rows"] == 1 and removed["raw rows"] > 100
    # What is made again of the raw files brings nothing back, and the home still works.
    assert nightreel("ingest", home=tmp_path).returncode == 0
    for command in (["features"], ["score", "--force"]):
        again = nightreel(*command, home=tmp_path)
        assert again.returncode == 0, again.stderr
    assert found_in(tmp_path) == set()
    nothing = nightreel("forget", str(USER), home=tmp_path)
    assert nothing.returncode == 0 and "no row of this user was found" in nothing.stdout


@pytest.mark.slow
def test_retrain_leaves_no_model_that_has_seen_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nightreel: Nightreel
) -> None:
    home = make_synthetic_home(tmp_path, monkeypatch, SETTINGS, users=60, videos=120, plays=8_000, days=21)
    ingest(home)
    publish_night(home)
    (old,) = (path.parent.name for path in home.paths.models.glob("*/manifest.json"))
    user = int(read_table(home, "interactions")["user_id"][0])
    done = nightreel("forget", str(user), "--retrain", home=tmp_path)
    assert done.returncode == 0, done.stderr
    (new,) = (path.parent.name for path in home.paths.models.glob("*/manifest.json"))
    assert new != old and json.loads((home.paths.models / "champion.json").read_text())["version"] == new
    assert "have learnt" not in done.stdout
    assert nightreel("score", home=tmp_path).returncode == 0


def test_lists_of_all_kept_runs_lose_the_user_alone(settings: Settings) -> None:
    publish_small_lists(settings, (1, 2))
    with sql_engine(settings).begin() as connection:
        user = connection.execute(text("SELECT max(user_id) FROM recommendation")).scalar_one()
        connection.execute(text(f"INSERT INTO skip_user VALUES ({user}, 'asked for it')"))
        for run_id, whose in ((1, user), (2, user), (2, user + 1)):
            connection.execute(text(f"INSERT INTO list_repeat VALUES ({run_id}, {whose}, '[[100, 1]]')"))
        connection.execute(
            text(
                "INSERT INTO list_rule "
                "(rule_id, kind, item_kind, item, number, segment_column, segment_value) "
                f"VALUES (1, 'pin', 'video', '100', 1, 'user_id', '{user}'), "
                f"(2, 'pin', 'video', '100', 1, 'user_id', '{user}1')"
            )
        )
        update = f"UPDATE recommendation_run SET error = 'audit: user {user} has 3 rows, user {user}1 none'"
        connection.execute(text(update))
    others = _rows(settings, user)
    assert len(others) == 39 * 20
    result = forget(settings, user)
    assert result.summary["removed"] == {
        "messages": 2,
        "rows of list_repeat": 2,
        "rows of lists": 20,
        "rows of skip_user": 1,
        "rules for the user alone": 1,
    }
    assert _rows(settings, user) == others
    with reading(settings) as connection:
        for run in connection.execute(select(recommendation_run)):
            assert (run.users, run.rows) == (39, 390)
            assert run.error == f"audit: user *** has 3 rows, user {user}1 none"
        of_user = select(recommendation).where(recommendation.c.user_id == user)
        assert connection.execute(of_user).all() == []
        # What was counted has no column of users.
        assert "user_id" not in list_outcome.c


def _rows(settings: Settings, user: int) -> list[Any]:
    with reading(settings) as connection:
        query = select(recommendation).where(recommendation.c.user_id != user)
        key = (recommendation.c.run_id, recommendation.c.user_id, recommendation.c.rank)
        return list(connection.execute(query.order_by(*key)).all())


def test_a_row_that_was_deleted_before_is_in_no_free_page(tmp_path: Path) -> None:
    """Rows that pruning deleted, long before the user asked, are in pages that SQLite has kept."""
    settings = Settings.model_validate({"home": tmp_path, "lists.top_k": 10})
    publish_small_lists(settings, (1, 2))
    with closing(sqlite3.connect(settings.paths.sqlite)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA foreign_keys = OFF")
        for rank in range(1, 200):
            row = (1, USER, rank, 7, 0.5, "hybrid")
            names = "run_id, user_id, rank, video_id, score, source"
            connection.execute(f"INSERT INTO recommendation ({names}) VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.commit()
        connection.execute("DELETE FROM recommendation WHERE user_id = ?", (USER,))
    assert found_in(tmp_path) == {"data/nightreel.sqlite"}
    forget(settings, USER)
    assert found_in(tmp_path) == set()


def test_other_rows_of_a_raw_file_stay_byte_for_byte(tmp_path: Path) -> None:
    """However the id is written; a number that only contains it, or is in another column, is another's."""
    log = RawLog()
    others = [
        f'1{USER},148,3000,6067,"2020-07-05 00:08:23.438",20200705,1593878903.438,0.5\r\n',
        f"15,{USER},3000,6067,2020-07-05 00:08:23.438,20200705,1593878903.438,0.5\n",
        "16,148,3000,6067,2020-07-06 00:00:00.000,20200706,1593964800.0,5e-1\n",
    ]
    own = [
        f"{form},148,3000,6067,2020-07-05 00:08:23.438,20200705,1593878903.438,0.5\n"
        for form in (USER, f"{USER}.0", f" +{USER}", f'"{USER}"', f"00{USER}", "7.716253849E9")
    ]
    log.files["big_matrix.csv"] = f"{BIG_HEADER}\n" + "".join(
        row for pair in zip(own, others * 2, strict=True) for row in pair
    )
    log.spoil("social_network.csv", '14,"[15, 16]"', f'14,"[15, {USER}, 16]"\n{USER},"[14]"')
    settings = Settings.model_validate({"home": tmp_path, "data.raw_dir": log.write(tmp_path / "raw")})
    big = settings.data.raw_dir / "big_matrix.csv"
    big.chmod(0o640)
    os.utime(big, ns=(10**18, 10**18))
    kept = {name: (settings.data.raw_dir / name).read_bytes() for name in log.files}
    ingest(settings)
    summary = forget(settings, USER).summary
    assert big.read_bytes() == f"{BIG_HEADER}\n".encode() + "".join(others * 2).encode()
    assert (big.stat().st_mode & 0o777, big.stat().st_mtime_ns) == (0o640, 10**18)
    assert (settings.data.raw_dir / "social_network.csv").read_text().splitlines()[1:] == ['14,"[15, 16]"']
    for name in set(log.files) - {"big_matrix.csv", "social_network.csv"}:
        assert (settings.data.raw_dir / name).read_bytes() == kept[name]
    assert summary["removed"]["raw rows"] == 7 and summary["removed"]["lists of friends"] == 2
    ingest(settings)
    assert USER not in read_table(settings, "interactions")["user_id"]
    friends = pl.read_parquet(settings.paths.table("social_network"))["friend_list"].to_list()
    assert friends == [[15, 16]]


def test_what_was_not_looked_through_is_named(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "data.raw_dir": RawLog().write(tmp_path / "raw")})
    (settings.data.raw_dir / "notes.csv.gz").write_bytes(b"\x1f\x8b")
    (settings.data.raw_dir / "incoming").mkdir()
    (settings.data.raw_dir / "incoming" / ".big_matrix_3.csv").write_text(
        f"user_id\n{USER}\n", encoding="utf-8"
    )
    left = forget(settings, USER).summary["not looked through"]
    assert [one.partition(":")[0] for one in left] == [".big_matrix_3.csv", "notes.csv.gz"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("big_matrix/part-0.parquet", b"PAR1"),
        ("social_network.csv", f"user_id;friend_list\n{USER};[15]\n".encode()),
        ("incoming/taken/20261129T191936.771205Z-big_matrix_1.csv.gz", b"\x1f\x8b"),
        ("incoming/user_features_2.csv", f"user_id\n{USER}\n".encode("utf-16")),
    ],
)
def test_what_cannot_be_searched_though_ingest_reads_it_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    log = RawLog().spoil("user_features.csv", "16,high", f"{USER},high")
    settings = Settings.model_validate({"home": tmp_path, "data.raw_dir": log.write(tmp_path / "raw")})
    file = settings.data.raw_dir / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(InputError, match="nothing was removed"):
        forget(settings, USER)
    assert str(USER) in (settings.data.raw_dir / "user_features.csv").read_text()


def _packed(content: bytes) -> bytes:
    made = pa.BufferOutputStream()
    with pa.CompressedOutputStream(made, "zstd") as stream:
        stream.write(content)
    packed: bytes = made.getvalue().to_pybytes()
    return packed


LOG = f"7716;9;1700000000\n{USER};9;1700000001\n+{USER}.0;8;1700000002\n{USER + 1};7;1700000003\n".encode()
PLAYS = pl.DataFrame({"u": [7716, USER, USER + 1], "i": [9, 9, 7], "t": [1700000000 + n for n in range(3)]})


@pytest.mark.parametrize(
    ("name", "content", "header"),
    [
        ("log.dat", LOG, True),
        ("log.dat", LOG.replace(b";", b"::"), True),
        ("log.dat.zst", _packed(b"u;i;t\n" + LOG), False),
        ("log.jsonl", b"", False),
        ("log.parquet", b"", False),
    ],
)
def test_a_log_of_another_layout_loses_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, header: bool
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    log = tmp_path / name
    log.write_bytes(content)
    if name.endswith("jsonl"):
        PLAYS.write_ndjson(log)
    if name.endswith("parquet"):
        PLAYS.write_parquet(log)
    names = 'header = ["u", "i", "t"], ' if header else ""
    delimiter = 'delimiter = "::", ' if b"::" in content else ""
    columns = '[data.columns]\nuser = "u"\nitem = "i"\ntime = "t"\n'
    toml = f'[data]\nplays = {{{names}{delimiter}path = "{name}"}}\n{columns}'
    (tmp_path / "nightreel.toml").write_text(toml)
    settings = load_settings()
    ingest(settings)
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"plays_{name}").write_bytes(log.read_bytes())
    forget(settings, USER)
    assert found_in(tmp_path) == set()
    ingest(settings)
    left = read_table(settings, "interactions")
    assert left["user_id"].to_list() == [7716, USER + 1]
