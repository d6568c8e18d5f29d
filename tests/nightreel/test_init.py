"""`nightreel init`: a log of any layout, understood, shown, and written as settings that ingest reads."""

import sqlite3
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import load_settings, settings_of_home
from nightreel.operations.init import Draft, draft_of, rows_of, write
from pipelines.ingest import ingest
from tests.fixtures.tables import read_table

Asked = list[tuple[str, list[str]]]
LOG = "ts,customer_id,movie_id,stars\n2024-03-01 10:00:00,ann,7,4\n2024-03-02 10:00:00,bob,8,2\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which is the current one."""
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    return tmp_path


def _never(question: str, option: str, choices: list[str]) -> str:
    raise InputError(f"{question} {choices}", f"Give --{option}.")


def _plays(home: Path, draft: Draft) -> pl.DataFrame:
    """The table that ingest makes of what was written."""
    write(draft, home / "nightreel.toml")
    settings = load_settings()
    ingest(settings)
    return read_table(settings, "interactions")


def test_columns_are_proposed_and_what_is_ambiguous_is_asked_for(home: Path) -> None:
    (home / "log.csv").write_text(LOG)
    asked: Asked = []

    def ask(question: str, option: str, choices: list[str]) -> str:
        asked.append((option, choices))
        return "Europe/Berlin"

    draft = draft_of(str(home / "log.csv"), {}, ask, layout=None)
    assert asked == [("time-zone", [])]
    named = {"user": "customer_id", "item": "movie_id", "time": "ts", "rating": "stars"}
    assert draft.data["columns"] == named
    rows, wrong = rows_of(draft)
    first = {"user": "ann", "item": "7", "time": "2024-03-01 10:00:00+01:00", "value": 4.0, "liked": True}
    assert rows[0] == first and not wrong
    assert _plays(home, draft)["watch_ratio"].to_list() == [4, 2]


@pytest.mark.parametrize(
    ("text", "given", "option"),
    [
        (LOG, {}, "time-zone"),
        ("t,u,i\n1700000000,1,2\n", {"time": "t"}, "user"),
        ("time,timestamp,user,item\n1700000000,1700000000,1,2\n", {}, "time"),
        ("time,user,item\n01/02/2024 10:00:00,1,2\n", {}, "time-format"),
        ("time,user,item,play_time,length\n1700000000,1,2,30,60\n", {}, "length-unit"),
        ("time,user,item,rating,event\n1700000000,1,2,3,like\n", {}, "value"),
        ("time,user,item,event\n1700000000,1,2,like\n", {}, "event-weights"),
        ("time,user,item,rating\n1700000000,1,2,9\n", {}, "like-threshold"),
        ("1\t2\t1700000000\n", {}, "user"),
        ("time,user,item,title\n1700000000,1,2,\xe9t\xe9\n", {}, "encoding"),
    ],
)
def test_nothing_ambiguous_is_guessed(home: Path, text: str, given: dict[str, str], option: str) -> None:
    (home / "log.csv").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=f"Give --{option}"):
        draft_of(str(home / "log.csv"), given, _never, layout=None)


def test_a_query_is_looked_at_and_written_as_it_stands(
    tmp_path: Path, nightreel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE log (customer TEXT, track INT, played_at TEXT, stars REAL)")
        shop.execute("CREATE TABLE track (track INT, title TEXT)")
        rows = [(f"c{n % 7}", n, f"2024-03-01T10:{n % 60:02d}:00Z", n % 5 + 1) for n in range(1_200)]
        shop.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        shop.executemany("INSERT INTO track VALUES (?, ?)", [(n, f"A song of {n} friends") for n in range(9)])
    query = "SELECT customer, track, played_at, stars AS rating FROM log -- all of it"
    arguments = ("--plays", f"sql:{query}", "--items", "sql:SELECT * FROM track", "--yes")
    names = ("--user", "customer")
    url = {"NIGHTREEL_DATA_SOURCE_URL": f"sqlite:///{tmp_path}/shop.db"}
    missing = nightreel("init", *arguments, *names, cwd=tmp_path)
    assert (missing.returncode, "NIGHTREEL_DATA_SOURCE_URL" in missing.stderr) == (2, True), missing.stderr
    wrong = nightreel("init", *arguments, *names, "--watermark", "at", cwd=tmp_path, **url)
    assert (wrong.returncode, "no column of a query" in wrong.stderr) == (2, True), wrong.stderr
    done = nightreel("init", *arguments, *names, "--watermark", "played_at", cwd=tmp_path, **url)
    assert done.returncode == 0, done.stderr
    assert "c3" in done.stdout
    written = (tmp_path / "nightreel.toml").read_text()
    data = tomllib.loads(written)["data"]
    assert (data["plays"]["path"], data["watermark"]) == (f"sql:{query}", "played_at")
    assert data["item_columns"] == {"title": "text"}
    assert "sqlite" not in written
    ingested = nightreel("ingest", "--json", home=tmp_path, **url)
    assert ingested.returncode == 0, ingested.stderr
    assert read_table(settings_of_home(tmp_path), "interactions").height == 1_200


def test_profiles_get_types(home: Path) -> None:
    (home / "log.csv").write_text(
        "user,item,time\n" + "".join(f"{n},{n},{17 * 10**8 + n}\n" for n in range(30))
    )
    titles = "".join(f"{n},A story of {n} friends,{n % 2},Ann,2023-01-05,war|love,1995\n" for n in range(30))
    (home / "items.csv").write_text("item,title,is_new,Artist,release_date,genres,published\n" + titles)
    (home / "users.csv").write_text("id,age,city\n" + "".join(f"{n},{n + 20},Rome\n" for n in range(30)))
    given = {"users": str(home / "users.csv"), "items": str(home / "items.csv")}

    def ask(question: str, option: str, choices: list[str]) -> str:
        assert (option, choices) == ("user-id", ["id", "age", "city"])
        return "id"

    draft = draft_of(str(home / "log.csv"), given, ask, layout=None)
    assert draft.data["user_columns"] == {"age": "numeric", "city": "categorical"}
    assert draft.data["item_columns"] == {
        "title": "text",
        "is_new": "categorical",
        "Artist": "author",
        "release_date": "upload_date",
        "genres": "tags",
        "published": "categorical",
    }
    assert _plays(home, draft)["watch_ratio"].to_list() == [1] * 30
    users = pl.read_parquet(home / "data" / "tables" / "users.parquet")
    assert users["user_age"].to_list() == [n + 20 for n in range(30)]


EXAMPLES = {
    "movielens": {
        "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "movies.dat": "1193::\"Cuckoo's Nest (1975)::Drama\n661::James (1996)::Animation|Musical\n",
    },
    "movielens csv": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n2,10,4.0,835355493\n",
        "movies.csv": 'movieId,title,genres\n31,"Minds, Dangerous (1995)",Drama\n10,Eye (1995),Action\n',
    },
    "kuairand": {
        "log_standard_4_08_to_4_21_pure.csv": "user_id,video_id,date,time_ms,play_time_ms,duration_ms\n"
        "0,3,20220408,1649346000000,5000,10000\n",
        "log_standard_4_22_to_5_08_pure.csv": "user_id,video_id,date,time_ms,play_time_ms,duration_ms\n"
        "0,4,20220422,1650600000000,19000,90000\n",
        "user_features_pure.csv": "user_id,is_video_author,fans_user_num,onehot_feat0\n0,1,9,1\n",
        "video_features_basic_pure.csv": "video_id,author_id,video_type,upload_dt,upload_type,music_id,tag\n"
        '3,7,NORMAL,2022-04-01,Web,2.0,"12,68"\n',
    },
    "lastfm": {
        "userid-timestamp-artid-artname-traid-traname.tsv": "user_1\t2009-05-04T23:08:57Z\tf1\tDeep\t\tFu\n"
        'user_2\t2009-05-04T13:54:10Z\t\t12" Heads\t\tSpeed\n',
        "userid-profile.tsv": "#id\tgender\tage\tcountry\tregistered\nuser_1\tm\t\tJapan\tAug 13, 2006\n",
    },
    "lastfm 2k": {
        "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n"
        "2\t52\t13\t1238536800000\n2\t53\t15\t1238536800000\n",
        "artists.dat": 'id\tname\turl\tpictureURL\n52\tAC/DC "live"\thttp://a\thttp://b\n',
    },
}


@pytest.mark.parametrize("layout", EXAMPLES)
def test_a_well_known_log_is_read_as_it_is(home: Path, layout: str) -> None:
    for name, text in EXAMPLES[layout].items():
        (home / "files").mkdir(exist_ok=True)
        (home / "files" / name).write_text(text, encoding="latin-1")
    draft = draft_of(str(home / "files"), {}, _never, layout=layout.split(maxsplit=1)[0])
    assert rows_of(draft)[0]
    assert _plays(home, draft).height == 2
    for kind in ("user", "item"):
        # A file of profiles is read by declared columns alone.
        assert (f"{kind}s" in draft.data) == bool(draft.data.get(f"{kind}_columns"))


def test_kuairec_needs_its_folder_alone(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "big_matrix.csv").write_text("user_id\n")
    write(draft_of(str(home / "data"), {}, _never, layout="kuairec"), home / "nightreel.toml")
    settings = load_settings()
    assert (settings.data.raw_dir, settings.data.time_zone) == (home / "data", "Asia/Shanghai")
    with pytest.raises(InputError, match=r"no u\.data or ratings\.dat or ratings\.csv, as MovieLens has"):
        draft_of(str(home / "data"), {}, _never, layout="movielens")


def test_the_command_writes_once(
    tmp_path: Path, nightreel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    refused = nightreel("init", "log.csv", "--yes", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Give --time-zone" in refused.stderr and len(refused.stderr.splitlines()) == 1
    done = nightreel("init", "log.csv", "--yes", "--time-zone", "UTC", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ann" in done.stdout
    written = (tmp_path / "nightreel.toml").read_text()
    again = nightreel("init", "log.csv", "--yes", "--time-zone", "Asia/Tokyo", cwd=tmp_path)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert (tmp_path / "nightreel.toml").read_text() == written


@pytest.mark.parametrize("day", ["2024-03-01", "20240301"])
@pytest.mark.parametrize("named", ["folder", "pattern"])
def test_a_partition_is_a_column_and_a_day_is_a_time(home: Path, day: str, named: str) -> None:
    for at, one in enumerate((day, day[:-1] + "2")):
        folder = home / "log" / f"date={one}"
        folder.mkdir(parents=True)
        rows = {"user_id": [1, 2], "item_id": [4 + at, 5], "rating": [5, 1 + at]}
        pl.DataFrame(rows).write_parquet(folder / "part.parquet")
    path = home / "log" if named == "folder" else home / "log" / "*" / "*.parquet"
    draft = draft_of(str(path), {"time_zone": "Asia/Tokyo"}, _never, layout=None)
    assert draft.data["columns"]["time"] == "date"
    assert rows_of(draft)[0][0]["time"] == "2024-03-01 00:00:00+09:00"
    plays = _plays(home, draft)
    assert sorted(plays["event_timestamp"].dt.day().to_list()) == [1, 1, 29, 29]
    assert plays["event_timestamp"].dt.hour().to_list() == [15] * 4


def test_no_column_of_times_is_said_at_once(home: Path) -> None:
    (home / "log.csv").write_text("user_id,item_id,rating\n1,2,5\n3,4,1\n")
    with pytest.raises(InputError, match=r"No column looks like the time of a play.*rating.*Give --time"):
        draft_of(str(home / "log.csv"), {}, _never, layout=None)


def test_decimal_commas_are_seen_and_said(home: Path) -> None:
    rows = "".join(f"{n};{n};2024-03-01T10:00:0{n}Z;{n},5\n" for n in range(5))
    (home / "log.csv").write_text(f"user;item;time;rating\n{rows}")
    draft = draft_of(str(home / "log.csv"), {}, _never, layout=None)
    assert "rating: decimal commas." in draft.notes
    assert [row["value"] for row in rows_of(draft)[0]] == [n + 0.5 for n in range(5)]
    assert _plays(home, draft)["watch_ratio"].to_list() == [n + 0.5 for n in range(5)]


def test_names_that_are_there_twice_matter_where_they_are_read(home: Path) -> None:
    (home / "log.csv").write_text("user,item,time,x,x,rating\n1,2,1700000000,3,4,5\n")
    draft = draft_of(str(home / "log.csv"), {}, _never, layout=None)
    assert rows_of(draft)[0][0]["value"] == 5
    assert _plays(home, draft).height == 1
    (home / "log.csv").write_text("user,item,time,item\n1,2,1700000000,3\n")
    with pytest.raises(InputError, match="column item is named twice"):
        draft_of(str(home / "log.csv"), {}, _never, layout=None)


def test_weights_of_events_and_times_may_be_written_short(home: Path) -> None:
    (home / "log.csv").write_text("user;item;time;event\n1;2;2024-03-01 10:00:00,125;like\n")
    given = {"event_weights": "like=.5", "time_zone": "UTC"}
    plays = _plays(home, draft_of(str(home / "log.csv"), given, _never, layout=None))
    assert plays["watch_ratio"].to_list() == [0.5]
    assert plays["event_timestamp"].dt.microsecond().to_list() == [125_000]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", b"", "the file is empty"),
        ("log.csv", b"user,item,time\n", "no rows"),
        ("log.csv", bytes(range(32)) * 40, "neither text nor Parquet"),
        ("log.xlsx", b"PK\x03\x04" + bytes(900), "a zip archive .or an Excel workbook."),
        ("log.csv", b"user\n1\n2\n", "one column, user;.*give --delimiter"),
        ("log.csv", b"user^item^time\n1^2^1700000000\n", "one column.*give --delimiter"),
        ("log.csv", b"user,item\n1,2\n", "No column is left for the time: there are user, item"),
        ("log.csv", b"user,item,time\n,2,1700000000\n", "1 of 1 rows cannot be read: column user: no value"),
        ("log.csv", b"user,item,time\n ann,2,1700000000\n", '" ann" begins or ends with a space'),
        ("log.json", b'[{"user": 1, "item": 2, "time": 1700000000}]', "one JSON array"),
        ("log.jsonl", b'{"user": 1}\n[1]\n"x"\n7\n', "no JSON lines"),
        ("log.jsonl", b'{"user": {"id": 1}, "item": 2, "time": 1700000000}\n', "user holds objects or lists"),
        (
            "log",
            b"user,item,time\n1,2,1700000000\n",
            "not a Parquet file. Only Parquet is read from a folder",
        ),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(home: Path, name: str, content: bytes, said: str) -> None:
    file = home / name
    if name == "log":
        file.mkdir()
        pl.DataFrame({"user": [1], "item": [2], "time": [1_700_000_000]}).write_parquet(file / "b.parquet")
        file = file / "a.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        rows_of(draft_of(str(home / name), {}, _never, layout=None))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gbk"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_line_ends_and_delimiters_do_not_matter(home: Path, encoding: str, end: str) -> None:
    rows = ["名^user^item^time^rating", 'a^"ann^b"^x^2024-03-01T10:00:00+01:00^1,234']
    (home / "log.csv").write_bytes(end.join([*rows, ""]).encode(encoding))
    given = {"delimiter": "^", "decimal": ","} | ({"encoding": "gbk"} if encoding == "gbk" else {})
    draft = draft_of(str(home / "log.csv"), given, _never, layout=None)
    row = rows_of(draft)[0][0]
    assert (row["user"], row["item"], row["value"]) == ("ann^b", "x", pytest.approx(1.234))
    assert _plays(home, draft)["watch_ratio"].to_list() == [pytest.approx(1.234)]


def test_a_log_without_header_may_have_times_of_any_kind(home: Path) -> None:
    (home / "log.csv").write_text("ann,x,2024-03-01T10:00:00Z\nbob,y,2024-03-02T10:00:00Z\n")
    draft = draft_of(str(home / "log.csv"), {"user": "column_1", "item": "column_2"}, _never, layout=None)
    assert [row["user"] for row in rows_of(draft)[0]] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"decimal": ";"}, "--decimal ;: not one of"),
        ({"delimiter": ""}, "--delimiter: empty"),
        ({"time_format": "klingon"}, "not one of auto, iso"),
        ({"value": "fun"}, "not one of play_time, watch_ratio"),
        ({"length_unit": "hours"}, "not one of milliseconds"),
        ({"event_weights": "like=1"}, "--event-weights: no column has that for a play.*--event"),
        ({"encoding": "klingon"}, "the file is not in this encoding"),
    ],
)
def test_options_that_say_nothing_are_refused(home: Path, given: dict[str, str], said: str) -> None:
    (home / "log.csv").write_text("user,item,time\n1,2,1700000000\n")
    with pytest.raises(InputError, match=said):
        draft_of(str(home / "log.csv"), given, _never, layout=None)
