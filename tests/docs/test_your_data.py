"""docs/your-data.md, from an empty folder: init, all of [data], a database, KuaiRec's files."""

import json
import sqlite3
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from nightreel.core.play_days import scan_days
from nightreel.core.settings import load_settings
from scoring.explain import contributions, explain
from tests.conftest import Nightreel
from tests.docs.blocks import blocks
from tests.docs.test_quick_start import SMALL, movielens

PAGE = [block for block in blocks() if block.page == "docs/your-data.md"]
INIT, LOG, SHOWN, DATABASE, RAW, LOOK = (
    next(block for block in PAGE if part in block.text)
    for part in (
        *("nightreel init", "[data.item_columns]", "[data.exposures]"),
        *("watermark = ", "raw_dir = ", "nightreel doctor"),
    )
)
CITIES, ARTISTS = ("Köln", "São Paulo", "Łódź"), ("Die Ärzte", "10cc", "Beyoncé")
USERS, ITEMS, PLAYS = 30, 40, 2_000
FIRST = datetime(2024, 3, 1, 8, tzinfo=UTC)
# Beside what the page shows: the other roles.
ROLES = 'added = "upload_date"\nseconds = "length"\nwords = "tags"\nsound = "music"\nvotes = "numeric"\n'


def _user(number: int) -> str:
    return f"Zoë {number}"


def _item(number: int) -> str:
    return f"track/{number}"


def _plays() -> pl.DataFrame:
    """Plays of users with a taste: their own third of the tracks is liked."""
    number = pl.int_range(PLAYS, eager=True)
    user, item = number % USERS, (number * 7 + number // USERS * 3) % ITEMS
    at = pl.Series([FIRST + timedelta(seconds=537 * n) for n in range(PLAYS)])
    what = (
        pl.select(
            pl.when(user % 3 == item % 3).then(pl.lit("like")).when(number % 2 == 0).then(pl.lit("click"))
        )
        .to_series()
        .fill_null("skip")
    )
    return pl.DataFrame(
        {
            "customer": user.map_elements(_user, pl.String),
            "track": item.map_elements(_item, pl.String),
            # Local times of Berlin, without a zone.
            "played_at": at.dt.convert_time_zone("Europe/Berlin").dt.strftime("%Y-%m-%d %H:%M:%S"),
            "what": what,
        }
    )


def _users() -> pl.DataFrame:
    numbers = range(USERS)
    return pl.DataFrame(
        {
            "customer": [_user(n) for n in numbers],
            "age": [20 + n for n in numbers],
            "city": [CITIES[n % 3] for n in numbers],
        }
    )


def _items() -> pl.DataFrame:
    numbers = range(ITEMS)
    return pl.DataFrame(
        {
            "track": [_item(n) for n in numbers],
            "title": [f"A song, no. {n}, about “{CITIES[n % 3]}”" for n in numbers],
            "genre": [("pop", "Rock & Roll", "Schlager")[n % 3] for n in numbers],
            "artist": [ARTISTS[n % 3] for n in numbers],
            "mood": [("sad", "happy")[n % 2] for n in numbers],
            "added": [f"2024-02-{1 + n % 28:02d}" for n in numbers],
            "seconds": [120 + n for n in numbers],
            "words": [f"live|{CITIES[n % 3]}" for n in numbers],
            "sound": [f"s{n % 5}" for n in numbers],
            "votes": [n / 2 for n in numbers],
        }
    )


def _plays_kept(home: Path) -> int:
    return scan_days(home / "data" / "tables" / "interactions").collect().height


def test_the_lines_of_init_run(tmp_path: Path, nightreel: Nightreel) -> None:
    renamed = {"customer": "who"}  # not known by that name
    _plays().drop("what").rename(renamed).write_csv(tmp_path / "plays.csv")
    _users().rename(renamed).write_csv(tmp_path / "users.csv")
    _items().write_csv(tmp_path / "items.csv")
    movielens(tmp_path / "ml-100k")
    named = ("--user", "who")
    for line in INIT.lines[:-1]:
        words = line.split()[1:]
        if "--example" in words or "--yes" in words:
            done = nightreel(
                *words, *(named if "--yes" in words else ("--yes",)), "--overwrite", cwd=tmp_path
            )
        else:
            done = subprocess.run(
                [Path(sys.executable).with_name("nightreel"), *words, "--overwrite"],
                # The user, after a wrong answer; the zone; and yes.
                input="whom\nwho\nEurope/Berlin\ny\n",
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert "whom: none of who" in done.stdout
        assert done.returncode == 0, f"{line}: {done.stderr}"
        data = tomllib.loads((tmp_path / "nightreel.toml").read_text(encoding="utf-8"))["data"]
        assert data["time_zone"] == ("UTC" if "--example" in words else "Europe/Berlin")
        if "--items" in words:
            assert data["item_columns"] == {
                **{"title": "text", "genre": "category", "artist": "author", "mood": "categorical"},
                **{"added": "categorical", "seconds": "numeric", "words": "categorical"},
                **{"sound": "music", "votes": "numeric"},
            }
    assert INIT.lines[-1] == "nightreel run"  # below, and in test_quick_start.py


def _files(home: Path) -> None:
    (home / "logs").mkdir()
    _plays()[:1_200].write_csv(home / "logs" / "1.csv")
    _plays()[1_200:].write_csv(home / "logs" / "2.csv")
    _users().write_csv(home / "users.csv")
    _items().write_parquet(home / "tracks.parquet")
    (home / "shown").mkdir()
    shown = _plays().head(9).drop("what").rename({"played_at": "seen_at"})
    shown.with_columns(slot=pl.lit(1), run_id=pl.lit(1)).write_ndjson(home / "shown" / "1.jsonl")


def _assert_words_are_those_of_the_files(home: Path, items: list[str], patch: pytest.MonkeyPatch) -> None:
    """Of every feature with a part in a score, not the strongest alone: those depend on the trees."""
    for name, value in {"NIGHTREEL_HOME": str(home), **SMALL}.items():
        patch.setenv(name, value)
    patch.setattr(contributions, "_STRONGEST", 10_000)
    of_item = {row["track"]: row for row in _items().to_dicts()}
    asked = set()
    for item in items:
        words = {
            "author_id": of_item[item]["artist"],
            "item_mood": of_item[item]["mood"],
            "user_city": CITIES[4 % 3],
        }
        found = explain(load_settings(), _user(4), item).features
        spelled = [(one.feature, one.value) for one in found if one.feature in words]
        assert [(feature, value) for feature, value in spelled if value != words[feature]] == []
        asked |= dict(spelled).keys()
    assert asked, "no tree asks of a word: the test shows nothing"


def test_a_log_with_roles_and_text_ids_becomes_lists_that_are_explained(
    tmp_path: Path, nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _files(tmp_path)
    text = LOG.text.replace("[data]\n", '[data]\nlength_unit = "seconds"\n', 1) + ROLES + SHOWN.text
    (tmp_path / "nightreel.toml").write_text(text, encoding="utf-8")
    shared = {"RELATED_K": "3", "POPULAR_K": "3", "SEGMENTS": "city", "MAX_PER_AUTHOR": "2"}
    lists = {f"NIGHTREEL_LISTS_{name}": value for name, value in shared.items()}
    done = nightreel("run", home=tmp_path, **lists, **SMALL)
    assert done.returncode == 0, done.stderr

    def read(*arguments: str) -> str:
        said = nightreel(*arguments, home=tmp_path, **SMALL)
        assert said.returncode == 0, said.stderr
        return said.stdout

    listed = {row["feature"] for row in json.loads(read("catalogue", "--json"))}
    assert {"user_age", "user_city", "item_mood", "item_votes", "item_sound"} <= listed
    rows = json.loads(read("show", _user(4), "--json"))
    assert rows[0]["video_id"].startswith("track/")
    assert rows[0]["caption"].startswith("A song, no. ")
    why = json.loads(read("show", _user(4), "--why", rows[0]["video_id"], "--json"))
    assert (why["user_id"], why["video_id"]) == (_user(4), rows[0]["video_id"])
    _assert_words_are_those_of_the_files(tmp_path, [row["video_id"] for row in rows], monkeypatch)
    assert "track/" in read("show", "--related", _item(4))
    assert "segment" in read("show", "--popular", "--segment", f"city={CITIES[0]}")
    read("rules", "add", "boost", "--category", "Rock & Roll", "--by", "2", "--segment", f"city={CITIES[0]}")
    assert rows[0]["video_id"] in read("show", _user(4), "--why", rows[0]["video_id"])
    artists = dict(_items().select("track", "artist").iter_rows())
    listed_artists = [artists[row["video_id"]] for row in rows]
    assert [listed_artists.count(one) for one in ARTISTS] == [2, 2, 2]


def test_plays_of_a_database_are_asked_for_above_the_watermark(tmp_path: Path, nightreel: Nightreel) -> None:
    plays = _plays()
    with sqlite3.connect(tmp_path / "log.db") as log:
        log.execute("CREATE TABLE plays (customer TEXT, track TEXT, played_at TEXT, what TEXT)")
        log.executemany("INSERT INTO plays VALUES (?, ?, ?, ?)", plays[:1_900].rows())
    columns = LOG.text[LOG.text.index("[data.columns]") : LOG.text.index("[data.users]")]
    zone = '[data]\ntime_zone = "Europe/Berlin"\n'
    text = DATABASE.text.replace("[data]\n", zone) + columns
    (tmp_path / "nightreel.toml").write_text(text, encoding="utf-8")
    url = {"NIGHTREEL_DATA_SOURCE_URL": f"sqlite:///{tmp_path}/log.db"}
    for rows in (1_900, 2_000):
        done = nightreel("ingest", home=tmp_path, **url)
        assert done.returncode == 0, done.stderr
        assert _plays_kept(tmp_path) == rows
        with sqlite3.connect(tmp_path / "log.db") as log:
            log.executemany("INSERT INTO plays VALUES (?, ?, ?, ?)", plays[1_900:].rows())


def test_kuairecs_files_are_read_from_where_the_setting_says(tmp_path: Path, nightreel: Nightreel) -> None:
    plays = pl.DataFrame(
        {
            "user_id": [n % 7 for n in range(70)],
            "video_id": [n % 9 for n in range(70)],
            "play_duration": [1_000 * n for n in range(70)],
            "video_duration": [9_000] * 70,
            "timestamp": [1_700_000_000 + 60 * n for n in range(70)],
        }
    )
    logs = tmp_path / "logs"
    logs.mkdir()
    plays.write_csv(logs / "big_matrix.csv")
    text = RAW.text.replace("/srv/logs", str(logs))
    (tmp_path / "nightreel.toml").write_text(text, encoding="utf-8")
    doctor, ingest = (nightreel(*line.split()[1:], home=tmp_path) for line in LOOK.lines)
    assert f"data folder: {logs}" in doctor.stdout
    assert ingest.returncode == 0, ingest.stderr
    assert _plays_kept(tmp_path) == 70
